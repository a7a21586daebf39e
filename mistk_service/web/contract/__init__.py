"""The kit that serves an API from its contract: operations compiled once, with Connexion as the judge behind them."""

import warnings

with warnings.catch_warnings():
    # Connexion's libraries warn of what they would like to have installed; no user can act on that.
    warnings.simplefilter("ignore")
    from connexion.context import receive as current_receive
    from connexion.context import scope as current_scope
    from connexion.operations import AbstractOperation

    from mistk_service.web.contract.application import contract_app
    from mistk_service.web.contract.compiled import NotRecognised, Reader

__all__ = ["AbstractOperation", "NotRecognised", "Reader", "contract_app", "current_receive", "current_scope"]
