"""Records what a container does and what its model reports, as runs of a tracking store."""

from mistk_service.recording.recorder import Recorder
from mistk_service.recording.run_options import RecorderOptions, RunOptions

__all__ = ["Recorder", "RecorderOptions", "RunOptions"]
