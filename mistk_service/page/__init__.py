"""The web page: shows in a browser what a container does, and the runs of a tracking store.

The page is a client of the public APIs. The server delivers static files and one document that names the APIs.
"""

from mistk_service.page.app import Page

__all__ = ["Page"]
