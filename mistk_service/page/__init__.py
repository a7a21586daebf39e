"""The page for people: what the model is, what it does, and how far it has come, live in a browser.

It is a consumer of the public API like any other: the server's side hands out a page and two static files, and the page
follows the status stream.
"""

from mistk_service.page.app import DashboardInfo, create_dashboard

__all__ = ["DashboardInfo", "create_dashboard"]
