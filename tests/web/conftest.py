"""Connexion is imported here once, with the deprecated things that it uses itself; every other warning stays an error."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    warnings.filterwarnings("ignore", "Using .httpx. with .starlette.testclient.")
    import connexion  # noqa: F401
