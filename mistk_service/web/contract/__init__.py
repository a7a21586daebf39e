"""The kit that serves an API from its contract: operations compiled once, with Connexion as the judge behind them."""

from mistk_service.web.contract.application import contract_app
from mistk_service.web.contract.compiled import NotRecognised, Reader
from mistk_service.web.contract.context import current_headers, current_receive, current_scope
from mistk_service.web.contract.operations import Operation, argument_name

__all__ = [
    "NotRecognised",
    "Operation",
    "Reader",
    "argument_name",
    "contract_app",
    "current_headers",
    "current_receive",
    "current_scope",
]
