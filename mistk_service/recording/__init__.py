"""What a container does and what its model reports, as a run of the store."""

from mistk_service.recording.options import ReporterOptions, Steering
from mistk_service.recording.recorder import Reporter

__all__ = ["Reporter", "ReporterOptions", "Steering"]
