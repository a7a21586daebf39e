"""The web page, which shows the state of a container and the runs of a tracking store.

The page is a client of the public APIs. The server delivers static files and one document that names the APIs.
"""

from mistk_service.page.app import Page

__all__ = ["Page"]
