"""What every request passes before an application sees it, whichever API it is for."""

from mistk_service.web.gate.body_budget import BodyBudget
from mistk_service.web.gate.body_limit import BodyLimit
from mistk_service.web.gate.chain import gate
from mistk_service.web.gate.origins import exposure
from mistk_service.web.gate.request_filter import RequestFilter

__all__ = ["BodyBudget", "BodyLimit", "RequestFilter", "exposure", "gate"]
