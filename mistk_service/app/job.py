"""A job: one run of a model from its data to its results, without an orchestrator."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import msgspec

from mistk_service.app.autostart import Autostart
from mistk_service.app.checkpoints import archive_at, complete, last_checkpoint, next_checkpoint, recover
from mistk_service.app.exit_codes import ExitCode
from mistk_service.app.job_progress import JobProgress
from mistk_service.app.job_settings import JobSettings
from mistk_service.app.steps import Interrupted
from mistk_service.app.storage import UnusableStorage, store, store_archive
from mistk_service.core.controller import Controller
from mistk_service.core.events import Event, StateChanged
from mistk_service.errors import InvalidRequest, MistkError
from mistk_service.harness.prediction_files import compare, read_labels
from mistk_service.kinds.call import Call
from mistk_service.kinds.kind import PAUSING
from mistk_service.workers.host.files import on_thread, remove_folders, require_writable_folder

logger = logging.getLogger(__name__)

#: The labels of each record by its id.
Labels = Mapping[str, tuple[str, ...]]


class Job:
    """The script of a job.

    Args:
        settings: the settings of the job.
        scratch: a folder for copies.
        progress: receives what the model reports.
        on_failure: called with the reason if the job fails.
        as_texts: whether the hyperparameters are texts of JSON.
    """

    #: The exit code of a job that a signal ends before any work has started.
    exit_code: int = ExitCode.INTERRUPTED

    def __init__(
        self,
        settings: JobSettings,
        scratch: Path,
        progress: JobProgress,
        on_failure: Callable[[str], None],
        *,
        as_texts: bool = False,
    ) -> None:
        purposes = {"training": settings.train, "prediction": settings.predict}
        self._settings = settings
        self._scratch = scratch
        objectives = [name for name, wanted in purposes.items() if wanted]
        self._start = Autostart(settings, scratch, objectives, as_texts=as_texts)
        self._steps = self._start.steps
        self._progress = progress
        self._on_failure = on_failure
        #: Saves the training that a signal has interrupted.
        self._saving: asyncio.Task[None] | None = None
        self._checkpointed = False

    def observe(self, event: Event) -> None:
        """Handle an event of the controller."""
        self._steps.observe(event)
        self._progress.observe(event)

    async def __call__(self, controller: Controller) -> ExitCode:
        """Do everything, and return the exit code.

        Raises:
            MistkError: a step failed.
        """
        try:
            async with self._progress.sent():
                await self._run(controller)
        except Interrupted:
            if self._saving is not None:
                await self._saving
            return ExitCode.CHECKPOINTED if self._checkpointed else ExitCode.INTERRUPTED
        except MistkError as error:
            self._on_failure(str(error))
            raise
        return ExitCode.DONE

    async def _run(self, controller: Controller) -> None:
        settings = self._settings
        given = {"train": ("--train", settings.train), "test": ("--predict", settings.predict)}
        await self._require_writable()
        truth = await self._truth()
        datasets = await self._start.datasets() | {name: each for name, each in given.items() if each[1] is not None}
        await self._start.prepare(controller, datasets, await self._checkpoint() or settings.build_from)
        if settings.train is not None:
            await self._steps.do(controller, "train")
            if self._saving is not None:
                raise Interrupted
            if settings.save_model is not None:
                await self._save(controller, "saveModel", settings.save_model, "--save-model")
        if settings.predict is not None:
            await self._steps.do(controller, "predict")
            await self._keep_predictions(controller, truth)

    async def _require_writable(self) -> None:
        """Refuse folders for results that cannot be written, before the work and not after it.

        Raises:
            InvalidRequest: one cannot be written.
        """
        settings = self._settings
        places = {"--save-predictions": settings.save_predictions}
        if settings.train is not None:
            places |= {"--save-model": settings.save_model, "--checkpoint": settings.checkpoint}
        for field, place in places.items():
            if place is not None:
                await on_thread(remove_folders, await on_thread(require_writable_folder, place, field))

    async def _truth(self) -> Labels | None:
        """Return the ground truth, if there is one. It is read before the work, so that a mistake in it costs none.

        Raises:
            InvalidRequest: it cannot be read.
            StorageUnreachable: it cannot be fetched.
        """
        if self._settings.evaluate is None:
            return None
        file = await self._start.fetch(self._settings.evaluate, "--evaluate")
        try:
            return await on_thread(partial(read_labels, Path(file), "ground_truth", scores=False))
        except InvalidRequest as error:
            raise InvalidRequest(f"--evaluate: {error}", field="--evaluate") from error

    async def _checkpoint(self) -> str | None:
        """Return the path of the checkpoint to resume, if there is one."""
        place = self._settings.checkpoint
        if place is None:
            return None
        if "://" not in place:
            try:
                await on_thread(recover, Path(place))
            except OSError as error:
                raise InvalidRequest(
                    f"--checkpoint: {error}; expected a folder whose checkpoint can be replaced.", field="--checkpoint"
                ) from error
        try:
            last = archive_at(place) if "://" in place else str(last_checkpoint(Path(place)))
            return await self._start.fetch(last, "--checkpoint")
        except UnusableStorage:
            raise  # nothing could be saved there either
        except InvalidRequest as error:
            logger.info("The training starts from the beginning: %s", error)
            return None

    async def _keep_predictions(self, controller: Controller, truth: Labels | None) -> None:
        settings = self._settings
        if settings.save_predictions is None and truth is None:
            return
        place = settings.save_predictions or str(self._scratch / "predictions")
        folder = await self._save(controller, "savePredictions", place, "--save-predictions")
        if truth is not None:
            await asyncio.to_thread(_evaluate, folder, truth)
            await self._store(folder, place, "--save-predictions")

    async def _save(self, controller: Controller, operation: str, place: str, field: str) -> Path:
        """Save to a folder or URL, and return the folder that the model has written to."""
        folder = self._scratch / operation if "://" in place else Path(place)
        await self._steps.do(
            controller, operation, Call((str(folder.absolute()),), writes={field: str(folder.absolute())})
        )
        await self._store(folder, place, field)
        return folder

    async def _save_checkpoint(self, controller: Controller, place: str) -> None:
        """Save a checkpoint, which takes the place of the last one when it is complete."""
        is_url = "://" in place
        folder = self._scratch / "next" if is_url else next_checkpoint(Path(place))
        await self._save(controller, "saveModel", str(folder), "--checkpoint")
        if is_url:
            await asyncio.to_thread(store_archive, folder, archive_at(place), "--checkpoint")
        else:
            await on_thread(complete, Path(place))

    @staticmethod
    async def _store(folder: Path, place: str, field: str) -> None:
        if "://" in place:
            await asyncio.to_thread(store, folder, place, field)

    # --- signals --------------------------------------------------------------------------------------------------

    def on_signal(self, controller: Controller) -> None:
        """Save a running training at its next pause point, and shut down."""
        if self._saving is not None:  # at the announcement of this
            return
        running = controller.view.running
        if (
            running is not None
            and running.operation == "train"
            and (self._settings.checkpoint or self._settings.save_model)
        ):
            self._saving = asyncio.get_running_loop().create_task(self._interrupt(controller))
        else:
            controller.shutdown()

    def on_drain(self, controller: Controller) -> None:
        """Do the same, since the job cannot end on that machine."""
        self.on_signal(controller)

    async def _interrupt(self, controller: Controller) -> None:
        settings = self._settings
        try:
            async with asyncio.timeout(settings.grace):
                # It pauses, has ended, or continues if it cannot pause. In the last case nothing can be saved.
                left = self._steps.expect(lambda event: isinstance(event, StateChanged) and event.state != PAUSING)
                await controller.call("pause")
                await left
                if settings.checkpoint is not None:
                    await self._save_checkpoint(controller, settings.checkpoint)
                elif settings.save_model is not None:
                    await self._save(controller, "saveModel", settings.save_model, "--save-model")
            self._checkpointed = True
            logger.info("The interrupted training is saved at %s.", settings.checkpoint or settings.save_model)
        except TimeoutError:
            logger.error(
                "The interrupted training is not saved: it was not paused and saved within %g s", settings.grace
            )
        except (Interrupted, MistkError, OSError) as error:
            logger.error("The interrupted training is not saved: %s", error)
        controller.shutdown()


def _evaluate(folder: Path, truth: Labels) -> None:
    """Compare the predictions in a folder with the truth; log the accuracy, and write all figures to ``evaluation.json``.

    Raises:
        InvalidRequest: the predictions cannot be read, or the records are not the same.
    """
    found = compare(read_labels(folder, "predictions", scores=True), truth)
    if found is None:
        raise InvalidRequest("--evaluate: expected one class for each record.", field="--evaluate")
    (folder / "evaluation.json").write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    logger.info("accuracy=%g;", found.accuracy)
