"""What a container does and what its model reports, as a run of the store."""

from mistk_service.tracking.reporter.options import ReporterOptions, Steering
from mistk_service.tracking.reporter.reporter import Reporter

__all__ = ["Reporter", "ReporterOptions", "Steering"]
