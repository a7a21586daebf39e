"""The HTTP server that every product of this project uses: uvicorn with limits on connections and requests."""

from mistk_service.web.server.configure import server_config
from mistk_service.web.server.http_limits import HttpLimits

__all__ = ["HttpLimits", "server_config"]
