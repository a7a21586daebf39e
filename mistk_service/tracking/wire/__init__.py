"""Converts values to MLflow's JSON and back, for both server and client."""

from mistk_service.tracking.wire import encoding, fields, parsing
from mistk_service.tracking.wire.encoding import *
from mistk_service.tracking.wire.fields import *
from mistk_service.tracking.wire.parsing import *

__all__ = encoding.__all__ + fields.__all__ + parsing.__all__
