"""What every HTTP server of this project has in common: its limits on connections and requests, and what it refuses."""

from mistk_service.web.server.budget import BodyBudget, budget_for
from mistk_service.web.server.configure import server_config
from mistk_service.web.server.door import Door
from mistk_service.web.server.http_limits import HttpLimits

__all__ = ["BodyBudget", "Door", "HttpLimits", "budget_for", "server_config"]
