"""Tracked values: experiments, runs, metrics, models and everything else in MLflow's vocabulary, as frozen structs.

:mod:`mistk_service.tracking.wire` turns them into MLflow's JSON and back, and :mod:`mistk_service.tracking.sql` into rows.
Where all fields of a value are those of its JSON, in name and order, it is encoded as it is. A field whose default is made by
a factory (``default_factory=int``) is always in the JSON; one that is ``None`` or empty by default is left out when it is.

Times are integers as the client gave them, by convention milliseconds since 1970 (UTC); times that the store sets are
milliseconds. Ids are opaque strings. ``None`` means "not set".
"""

from __future__ import annotations

from mistk_service.tracking.values import _accounts, _models, _runs
from mistk_service.tracking.values._accounts import *
from mistk_service.tracking.values._models import *
from mistk_service.tracking.values._runs import *

__all__ = _accounts.__all__ + _models.__all__ + _runs.__all__
