"""The language of MLflow's searches: text to typed conditions and orders. Nothing here knows a database."""

from mistk_service.tracking.filters._grammars import (
    EXPERIMENTS,
    LOGGED_MODELS,
    MODEL_VERSIONS,
    REGISTERED_MODELS,
    RUNS,
    Grammar,
)
from mistk_service.tracking.filters._parser import parse_filter, parse_order
from mistk_service.tracking.filters._syntax import OPERATORS, Comparator, Comparison, Entity, Order, Value

__all__ = [
    "EXPERIMENTS",
    "LOGGED_MODELS",
    "MODEL_VERSIONS",
    "OPERATORS",
    "REGISTERED_MODELS",
    "RUNS",
    "Comparator",
    "Comparison",
    "Entity",
    "Grammar",
    "Order",
    "Value",
    "parse_filter",
    "parse_order",
]
