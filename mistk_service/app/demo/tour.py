"""The demonstration of a model: every operation once, on real images, with live output."""

from __future__ import annotations

import csv
import importlib.util
import shlex
import shutil
import signal
import struct
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from mistk_service.app.demo.results import show_run
from mistk_service.client import ModelClient, ModelStatus, launch
from mistk_service.errors import MistkError, SettingsError
from mistk_service.kinds.model.states import State
from mistk_service.process_exit import signals_handled
from mistk_service.resources import plugins_path
from mistk_service.web.listening import bind

#: Enough epochs to see the training, and few enough not to make the user wait.
_EPOCHS = 200
_HYPERPARAMETERS = {"epochs": _EPOCHS, "learning_rate": 0.05, "seed": 1}

#: The part of the training after which it is paused.
_PAUSE_AT = 0.4

#: The accuracy that the model has to reach on unseen images.
_ACCURACY = 0.95

#: Maximum duration of a single step in seconds.
_TIMEOUT = 120.0

_IMAGES = 5


@dataclass(frozen=True)
class _Image:
    """A test image: its identifier, the digit that it shows, and 64 grey values from 0 to 16."""

    id: str
    label: str
    pixels: tuple[float, ...]

    @property
    def record(self) -> bytes:
        """The image as stream prediction takes it: float32, little-endian."""
        return struct.pack("<64f", *self.pixels)


def run_demo(port: int, folder: Path) -> None:
    """Run the demonstration.

    Args:
        port: where to listen, if it is free.
        folder: where model and predictions go; a temporary folder if it cannot be written.

    Raises:
        MistkError: a step failed.
        SystemExit: it was interrupted, with the exit code that shells use for that.
    """
    if importlib.util.find_spec("numpy") is None:
        raise MistkError("The digits model needs numpy; install it with: pip install 'mistk-service[plugins]'")
    console = Console(stderr=False)
    digits = plugins_path() / "digits"
    reference = f"{digits / 'model.py'}:Digits"
    folder = writable(folder)
    options = ["--state-dir", str(folder / "state"), "--log-level", "warning"]
    container = launch(reference, ModelClient, port=_free_port(port), options=options)
    with interruptible(console), container as client:
        console.print(f"A container with the digits model is running at [b]{container.url}[/b]")
        container_id = client.status().object_info.id or ""
        accuracy = _Tour(console, client, digits / "data", folder).run()
        console.print(f"   the process has ended with exit code {container.wait()}")
    if accuracy < _ACCURACY:
        raise MistkError(f"The test accuracy is {accuracy:.3f}; expected more than {_ACCURACY}.")
    show_run(console, folder / "state", container_id, program())
    _print_next_steps(console, reference, folder, accuracy)


class _Tour:
    """The steps, in order."""

    def __init__(self, console: Console, client: ModelClient, data: Path, folder: Path) -> None:
        self._console = console
        self._client = client
        self._data = data
        self._model, self._predictions = folder / "model", folder / "predictions"

    def run(self) -> float:
        """Drive the container from its first state to its last, and return the test accuracy."""
        client = self._client
        self._step("initialize", client.initialize(["training", "prediction"], hyperparameters=_HYPERPARAMETERS))
        self._step("loadData", client.load_data(train=self._data / "train.csv", test=self._data / "test.csv"))
        self._step("buildModel", client.build_model())
        self._train()
        self._step("saveModel", client.save_model(self._model))
        accuracy = self._step("predict", client.predict()).metrics["test_accuracy"]
        self._console.print(f"   test accuracy [b]{accuracy:.4f}[/b]")
        self._step("savePredictions", client.save_predictions(self._predictions))
        self._stream()
        self._print_step("shutdown", "")
        client.wait_for(State.TERMINATED, timeout=_TIMEOUT, since=client.shutdown())
        return accuracy

    def _print_step(self, operation: str, text: str) -> None:
        self._console.print(f"[green]✓[/green] [b]{operation}[/b] {text}")

    def _step(self, operation: str, accepted: ModelStatus) -> ModelStatus:
        """Wait for the end of an operation that the container has accepted."""
        settled = {State.INITIALIZED, State.READY}
        status = self._client.wait_for(settled, timeout=_TIMEOUT, since=accepted)
        self._print_step(operation, f"→ {status.state}")
        return status

    def _train(self) -> None:
        """Train, watch, pause half-way, and resume."""
        client = self._client
        paused = False
        with _progress(self._console) as progress:
            task = progress.add_task("training", total=_EPOCHS, detail="")
            for event in client.watch(client.train().resource_version):
                status = event.status
                _show(progress, task, status)
                if status.state is State.TRAINING and not paused and _fraction(status) >= _PAUSE_AT:
                    paused = True
                    client.pause()
                elif status.state is State.PAUSED:
                    progress.console.print(f"[green]✓[/green] [b]pause[/b] → paused at {status.progress}")
                    client.resume_training()
                    progress.console.print("[green]✓[/green] [b]resumeTraining[/b] → training")
                elif status.state is State.FAILED:
                    raise MistkError(f"The training failed: {status.error}")
                elif status.state is State.READY:
                    progress.update(task, completed=_EPOCHS, description="ready    ", detail=_detail(status))
                    break
        self._print_step("train", f"→ ready, training accuracy {status.metrics['accuracy']:.4f}")

    def _stream(self) -> None:
        """Predict for single images of the test set, as they would come from a camera."""
        images = list(_images(self._data / "test.csv", _IMAGES))
        answers = self._client.stream_predict({image.id: image.record for image in images})
        self._print_step("streamPredict", f"of {len(images)} test images")
        table = Table("image", "shows", "predicted", "confidence")
        for image in images:
            answer = answers[image.id]
            table.add_row(image.id, image.label, str(answer["label"]), f"{answer['confidence']:.3f}")
        self._console.print(table)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("  {task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} epochs{task.fields[detail]}"),
        TimeRemainingColumn(),
        console=console,
    )


def _show(progress: Progress, task: object, status: ModelStatus) -> None:
    if status.progress is None or status.progress.total is None:
        return
    progress.update(
        task,  # type: ignore[arg-type]
        completed=status.progress.done,
        total=status.progress.total,
        detail=_detail(status),
        description=f"{status.state:<9}",
    )


def _detail(status: ModelStatus) -> str:
    metrics = status.metrics
    return f"  loss {metrics['loss']:.4f}  accuracy {metrics['accuracy']:.4f}" if "loss" in metrics else ""


def _fraction(status: ModelStatus) -> float:
    return (status.progress.fraction or 0.0) if status.progress else 0.0


def _images(path: Path, count: int) -> Iterator[_Image]:
    with path.open(newline="") as file:
        rows = csv.reader(file)
        next(rows)
        for _, (name, label, *pixels) in zip(range(count), rows, strict=False):
            yield _Image(name, label, tuple(map(float, pixels)))


def writable(folder: Path) -> Path:
    """Create the folder and return it, or a temporary one if that is not possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return Path(tempfile.mkdtemp(prefix="mistk-demo-"))
    return folder.resolve()


def _free_port(wanted: int) -> int:
    """Return the wanted port, or 0 for any free port if it is taken."""
    try:
        bind("127.0.0.1", wanted).close()
    except SettingsError:
        return 0
    return wanted


@contextmanager
def interruptible(console: Console) -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and a closed terminal end the demonstration with a clean-up.

    Raises:
        SystemExit: it was interrupted, with the exit code that shells use for that.
    """
    try:
        with signals_handled((signal.SIGTERM, signal.SIGHUP), signal.default_int_handler):
            yield
    except KeyboardInterrupt:
        console.print("Interrupted; everything has been shut down.")
        raise SystemExit(130) from None


def program() -> list[str]:
    """Return the command that runs this program."""
    found = shutil.which("mistk-service")
    return [found] if found else [sys.executable, "-m", "mistk_service"]


def _print_next_steps(console: Console, reference: str, folder: Path, accuracy: float) -> None:
    command = [*program(), "serve", reference]
    api = "http://127.0.0.1:8080/v1/mistk"
    build = shlex.quote(f"{api}/buildModel?modelPath={quote(str(folder / 'model'))}")
    for line in (
        "",
        f"[b]Test accuracy {accuracy:.4f}[/b] on images that the model has not seen",
        f"model        {folder / 'model'}",
        f"predictions  {folder / 'predictions' / 'predictions.csv'}",
        "",
        "To continue by hand, serve the model again:",
        f"  {shlex.join(command)}",
        "and in another terminal bring the trained one back:",
        f"  curl -X POST {api}/initialize -H 'Content-Type: application/json' -d '{{\"objectives\": [\"prediction\"]}}'",
        f"  curl -X POST {build}",
        f"  curl {api}/status",
        "The web page is at http://127.0.0.1:8080/, the API's documentation at http://127.0.0.1:8080/v1/mistk/ui/",
    ):
        console.print(line, soft_wrap=True, highlight=False)
