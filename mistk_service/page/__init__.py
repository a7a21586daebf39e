"""The web page: shows live in a browser what the model is, what it does, and its progress.

The page is an ordinary client of the public API. The server delivers one HTML page and two static files, and the page follows
the status stream.
"""

from mistk_service.page.app import DashboardInfo, create_dashboard

__all__ = ["DashboardInfo", "create_dashboard"]
