"""Requests by a contract, valid and invalid ones, and the checks of their responses.

Schemathesis is imported in the functions, since it takes long to load and every process of the tests imports this module.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

__all__ = ["cases", "described"]


def cases(operation: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for valid and invalid requests of an operation."""
    from schemathesis import GenerationMode

    return st.one_of([operation.as_strategy(generation_mode=mode) for mode in GenerationMode])


def described(*, with_body: bool = True) -> list[Any]:
    """Return the checks that a response is one of those that the contract describes."""
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi import checks

    of_all = [not_a_server_error, checks.status_code_conformance, checks.response_schema_conformance]
    # A response without a body has no media type, but the check requires one.
    return [*of_all, checks.content_type_conformance] if with_body else of_all
