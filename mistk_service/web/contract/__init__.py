"""The kit that serves an API from its contract: operations compiled once, with Connexion as the judge behind them.

Everything else takes from here what it needs of Connexion.
"""

import sys
import warnings

# Connexion imports httpx, which would load its command line with it: more than three times as much as the library itself.
# Without that module, httpx does without a command line.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]

with warnings.catch_warnings():
    # Connexion's libraries warn of what they would like to have installed; no user can act on that.
    warnings.simplefilter("ignore")
    from connexion.context import receive as current_receive
    from connexion.context import request as current_request
    from connexion.context import scope as current_scope
    from connexion.decorators.parameter import pythonic
    from connexion.exceptions import ProblemException
    from connexion.operations import AbstractOperation

    from mistk_service.web.contract.application import contract_app
    from mistk_service.web.contract.compiled import NotRecognised, Reader

__all__ = [
    "AbstractOperation",
    "NotRecognised",
    "ProblemException",
    "Reader",
    "contract_app",
    "current_receive",
    "current_request",
    "current_scope",
    "pythonic",
]
