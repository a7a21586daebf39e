"""Serves an API from its contract: compiled operations, with Connexion as the fallback."""

from mistk_service.web.contract.application import contract_app
from mistk_service.web.contract.compiled import NotRecognised, Reader
from mistk_service.web.contract.current_request import current_headers, current_scope
from mistk_service.web.contract.operations import Operation, argument_name

__all__ = [
    "NotRecognised",
    "Operation",
    "Reader",
    "argument_name",
    "contract_app",
    "current_headers",
    "current_scope",
]
