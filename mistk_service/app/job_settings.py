"""The settings of a job."""

from __future__ import annotations

from dataclasses import dataclass

from mistk_service.app.settings import Settings
from mistk_service.command_line import PORT, option
from mistk_service.errors import SettingsError
from mistk_service.logs import LogFormat


@dataclass(frozen=True, kw_only=True)
class JobSettings(Settings):
    """What a job does. It has the options of ``serve``, too."""

    host: str = option(
        "127.0.0.1",
        "Address of the API while the job runs. MISTK_HOST does not count, since a job needs no clients.",
        env="MISTK_JOB_HOST",
    )
    port: int = option(0, "Port of the API while the job runs; 0 picks a free one.", PORT)
    log_format: LogFormat = option("json", "Log lines of text, or one JSON object per line.")
    train: str | None = option(None, "Train with this dataset: a file, a folder or a URL.", metavar="DATA")
    save_model: str | None = option(None, "Save the trained model to this folder or URL.", metavar="PATH")
    checkpoint: str | None = option(
        None,
        "Save an interrupted training to this folder or URL, and resume the training that was saved there. By default, it is "
        "saved to --save-model and not resumed.",
        metavar="PATH",
    )
    predict: str | None = option(None, "Predict for this dataset.", metavar="DATA")
    save_predictions: str | None = option(None, "Save the predictions to this folder or URL.", metavar="PATH")
    evaluate: str | None = option(
        None,
        "Compare the predictions with this ground truth, CSV or JSON, and save the results next to them.",
        metavar="DATA",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.train is None and self.predict is None:
            raise SettingsError("The job has nothing to do; expected --train or --predict.")
        for name in ("save_predictions", "evaluate"):
            if getattr(self, name) is not None and self.predict is None:
                raise SettingsError(f"--{name.replace('_', '-')}: there are no predictions; expected --predict too.")
