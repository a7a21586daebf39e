"""What every HTTP server of this project has in common: its limits on connections and requests, and what it refuses."""

from mistk_service.serving.budget import BodyBudget, budget_for
from mistk_service.serving.door import Door
from mistk_service.serving.limits import HttpLimits
from mistk_service.serving.server import server_config

__all__ = ["BodyBudget", "Door", "HttpLimits", "budget_for", "server_config"]
