"""Training: it learns, and where it is interrupted makes no difference."""

from __future__ import annotations

import contextlib
import functools
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from digits.checkpoint import load_checkpoint
from digits.errors import BadCheckpoint, BadHyperparameters, CannotWrite, NotReady, TrainingDiverged
from digits.hyperparameters import Hyperparameters
from digits.images import PIXELS
from digits.model import Digits
from digits.network import Parameters, gradient, initial_parameters
from digits.reader import read_images

from mistk_service import DetachedContext, MistkDataset, RequestError, StopActivity

DATA = Path(__file__).parent.parent / "data"
#: A training of 3 epochs with 12 batches each: small, and the last batch of an epoch is not full.
QUICK = {"epochs": 3, "batch_size": 128, "hidden": 16, "seed": 7}
BATCHES = 12
#: One before every epoch and one before every batch, and one at the end.
PAUSE_POINTS = 3 * (1 + BATCHES) + 1

Built = Callable[..., Digits]
Interrupt = Callable[..., Any]


def state_of(model: Digits, folder: Path) -> dict[str, bytes]:
    """Return all that a checkpoint holds, bit by bit."""
    model.do_save_model(str(folder))
    with np.load(folder / "digits.npz") as archive:
        return {name: archive[name].tobytes() for name in archive.files}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Builds a model: ``built(hparams, checkpoint, train=..., test=...)``."""
    # An archive of the images of train.csv is read in a fraction of the time.
    archive = tmp_path_factory.mktemp("data") / "train.npz"
    images = read_images(DATA / "train.csv")
    assert images.labels is not None
    np.savez(archive, images=images.pixels, labels=images.labels, ids=images.ids)

    def built(hparams: dict[str, Any] = QUICK, checkpoint: Path | None = None, **paths: Path) -> Digits:
        model = Digits()
        model.do_initialize(["training", "prediction"], {}, dict(hparams))
        paths = paths or {"train": archive}
        model.do_load_data({role: MistkDataset(data_path=str(path)) for role, path in paths.items()})
        model.do_build_model(str(checkpoint) if checkpoint else None)
        return model

    return built


@pytest.fixture(scope="module")
def straight(built: Built, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The state after the quick training straight through."""
    model = built()
    model.do_train()
    return state_of(model, tmp_path_factory.mktemp("straight"))


def test_the_network_learns_to_read_digits(built: Built) -> None:
    model = built({}, train=DATA, test=DATA)
    context = DetachedContext()
    model.attach(context)
    model.do_train()
    model.do_predict()
    assert context.status["test_accuracy"] > 0.96
    assert context.status["train_accuracy"] > 0.99
    assert context.status["images"] == {"train": 1442, "test": 355}
    assert ("test_accuracy", context.status["test_accuracy"], 60) in context.metrics
    losses = [(step, value) for name, value, step in context.metrics if name == "loss"]
    assert [step for step, _ in losses] == list(range(1, 61))
    assert losses[-1][1] < losses[0][1] / 10
    assert len([name for name, _, _ in context.metrics if name == "accuracy"]) == 60


@pytest.mark.parametrize("at", range(PAUSE_POINTS))
def test_a_training_saved_while_paused_and_rebuilt_ends_in_the_same_bits(
    built: Built, tmp_path: Path, interrupt: Interrupt, straight: dict[str, bytes], at: int
) -> None:
    first = built()
    interrupt(first, at, lambda: first.do_save_model(str(tmp_path)))
    with pytest.raises(StopActivity):
        first.do_train()
    again = built(checkpoint=tmp_path)
    context = interrupt(again, None)
    if at < PAUSE_POINTS - 1:
        again.do_train()
    assert state_of(again, tmp_path) == straight
    if at < PAUSE_POINTS - 1:
        assert [step for name, _, step in context.metrics if name == "loss"][-1] == 3


def test_a_training_saved_while_paused_and_resumed_ends_in_the_same_bits(
    built: Built, tmp_path: Path, interrupt: Interrupt, straight: dict[str, bytes]
) -> None:
    model = built()
    context = interrupt(model, BATCHES + 5, lambda: model.do_save_model(str(tmp_path / "halfway")), stop=False)
    model.do_train()
    assert context.passed == PAUSE_POINTS
    assert (tmp_path / "halfway" / "digits.npz").is_file()
    assert state_of(model, tmp_path) == straight


def test_a_training_interrupted_again_and_again_ends_in_the_same_bits(
    built: Built, tmp_path: Path, interrupt: Interrupt, straight: dict[str, bytes]
) -> None:
    checkpoint = None
    # At least 5 of the 7 pause points that are passed each time are followed by a step; the others begin an epoch.
    for _ in range(3 * BATCHES // 5):
        model = built({} if checkpoint else QUICK, checkpoint=checkpoint)
        context = interrupt(model, 7, functools.partial(model.do_save_model, str(tmp_path)))
        with contextlib.suppress(StopActivity):
            model.do_train()
        checkpoint = tmp_path
        if context.passed < 8 or not load_checkpoint(tmp_path).trainer.unfinished:
            break
    assert state_of(model, tmp_path) == straight


def test_training_a_finished_model_trains_for_as_many_epochs_again(
    built: Built, tmp_path: Path, interrupt: Interrupt
) -> None:
    model = built()
    model.do_train()
    model.do_save_model(str(tmp_path))
    again = built(checkpoint=tmp_path)
    context = interrupt(again, None)
    again.do_train()
    assert [step for name, _, step in context.metrics if name == "loss"] == [4, 5, 6]
    model.do_train()
    assert state_of(again, tmp_path / "a") == state_of(model, tmp_path / "b")


def test_epochs_given_with_a_checkpoint_say_where_the_unfinished_training_ends(
    built: Built, tmp_path: Path, interrupt: Interrupt
) -> None:
    first = built()
    interrupt(first, BATCHES + 5, lambda: first.do_save_model(str(tmp_path)))
    with pytest.raises(StopActivity):
        first.do_train()
    again = built({"epochs": 5}, checkpoint=tmp_path)
    context = interrupt(again, None)
    again.do_train()
    assert [step for name, _, step in context.metrics if name == "loss"] == [2, 3, 4, 5]
    again.do_save_model(str(tmp_path))
    assert load_checkpoint(tmp_path).settings == Hyperparameters().updated(QUICK | {"epochs": 5})


def test_on_other_data_the_epoch_under_way_begins_anew(built: Built, tmp_path: Path, interrupt: Interrupt) -> None:
    first = built()
    interrupt(first, BATCHES + 5, lambda: first.do_save_model(str(tmp_path)))
    with pytest.raises(StopActivity):
        first.do_train()
    again = built(checkpoint=tmp_path, train=DATA / "test.csv")
    interrupt(again, 3, lambda: again.do_save_model(str(tmp_path)))
    with pytest.raises(StopActivity):
        again.do_train()
    trainer = load_checkpoint(tmp_path).trainer
    assert (trainer.epoch, trainer.order.size, trainer.seen) == (1, 355, 2 * 128)


def test_the_seed_decides_the_weights(built: Built, tmp_path: Path) -> None:
    states = [state_of(built(QUICK | {"seed": seed}), tmp_path) for seed in (1, 1, 2)]
    assert states[0] == states[1]
    assert states[0]["hidden_weights"] != states[2]["hidden_weights"]


def test_the_gradient_is_the_slope_of_the_loss() -> None:
    rng = np.random.default_rng(0)
    parameters = initial_parameters(5, rng)
    pixels, labels = rng.uniform(0, 16, (7, PIXELS)), rng.integers(0, 10, 7)
    kept = rng.choice([0.0, 2.0], (7, 5))
    l2 = 0.01

    def objective(name: str, index: tuple[int, ...], change: float) -> float:
        arrays = {key: getattr(parameters, key).copy() for key in Parameters.names()}
        arrays[name][index] += change
        penalty = sum(float((arrays[key] ** 2).sum()) for key in ("hidden_weights", "output_weights"))
        loss = gradient(Parameters(**arrays), pixels, labels, l2=l2, kept=kept).loss_sum / len(labels)
        return loss + l2 / 2 * penalty

    slope = gradient(parameters, pixels, labels, l2=l2, kept=kept).slope
    for name in Parameters.names():
        array = getattr(slope, name)
        for _ in range(20):
            index = tuple(int(rng.integers(0, size)) for size in array.shape)
            measured = (objective(name, index, 1e-6) - objective(name, index, -1e-6)) / 2e-6
            assert array[index] == pytest.approx(measured, rel=1e-4, abs=1e-8)


def test_a_training_that_diverges_says_so_and_what_to_do(built: Built) -> None:
    model = built(QUICK | {"learning_rate": 100, "l2": 10, "epochs": 50})
    with pytest.raises(TrainingDiverged, match="learning_rate below 100"):
        model.do_train()


def test_training_without_data_asks_for_it() -> None:
    model = Digits()
    model.do_build_model()
    with pytest.raises(NotReady, match="'train' yet: call loadData"):
        model.do_train()
    with pytest.raises(NotReady, match="call buildModel"):
        Digits().do_train()


@pytest.mark.parametrize(
    ("hparams", "expected"),
    [
        ({"learning_rat": 0.1}, r"'learning_rat' is not a hyperparameter .*did you mean learning_rate\?"),
        ({"epochs": 0}, "epochs must be a whole number of at least 1 and at most 1e"),
        ({"epochs": 2.5}, "epochs must be a whole number"),
        ({"epochs": True}, "not True"),
        ({"epochs": None}, "not None"),
        ({"learning_rate": 0}, "learning_rate must be a number above 0"),
        ({"learning_rate": "fast"}, "not 'fast'"),
        ({"learning_rate": float("nan")}, "not nan"),
        ({"l2": 10**400}, "l2 must be a number"),
        ({"momentum": 1}, "momentum must be a number of at least 0 and below 1"),
        ({"batch_size": [32]}, r"not \[32\]"),
        ({"hidden": 10_000, "dropout": -1}, "hidden must be .*; dropout must be"),
    ],
)
def test_a_wrong_hyperparameter_is_refused_with_what_is_right(hparams: dict[str, Any], expected: str) -> None:
    with pytest.raises(BadHyperparameters, match=expected):
        Digits().do_initialize(["training"], {}, hparams)


def test_hyperparameters_may_come_as_text_and_are_reported(interrupt: Interrupt) -> None:
    model = Digits()
    context = interrupt(model, None)
    model.do_initialize(["training"], {}, {"epochs": "5", "learning_rate": "1e-2", "hidden": 20.0})
    model.do_build_model()
    assert context.params == Hyperparameters(epochs=5, learning_rate=0.01, hidden=20).to_dict()
    assert type(context.params["hidden"]) is int


def test_generation_is_declined_as_unsupported() -> None:
    with pytest.raises(RequestError, match="leave out generation"):
        Digits().do_initialize(["training", "generation"], {}, {})


def test_a_checkpoint_of_another_size_or_seed_is_refused(built: Built, tmp_path: Path) -> None:
    built().do_save_model(str(tmp_path))
    for given in ({"hidden": 17}, {"seed": 8}):
        with pytest.raises(BadCheckpoint, match=r"leave (hidden|seed) out"):
            built(given, checkpoint=tmp_path)


def test_saving_replaces_the_checkpoint_and_leaves_nothing_else(built: Built, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    model = built()
    for _ in range(2):
        model.do_save_model(str(folder))
    assert [file.name for file in folder.iterdir()] == ["digits.npz"]


def test_a_checkpoint_needs_no_pickle(built: Built, tmp_path: Path) -> None:
    built().do_save_model(str(tmp_path))
    with np.load(tmp_path / "digits.npz", allow_pickle=False) as archive:
        assert all(archive[name].dtype != object for name in archive.files)
        assert json.loads(str(archive["header"]))["format"] == "digits-checkpoint"


def test_a_place_that_cannot_be_written_is_named(built: Built, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(CannotWrite, match="is a file and not a folder"):
            built().do_save_model(str(place))
    assert (tmp_path / "file").read_text() == "in the way"


def _damaged(built: Built, tmp_path: Path, **changes: Any) -> Path:
    built().do_save_model(str(tmp_path))
    with np.load(tmp_path / "digits.npz") as archive:
        arrays: dict[str, Any] = {name: archive[name] for name in archive.files}
    header = json.loads(str(arrays["header"])) | changes.pop("header", {})
    arrays |= {"header": np.array(json.dumps(header))} | changes
    buffer = io.BytesIO()
    np.savez(buffer, **{name: value for name, value in arrays.items() if value is not None})
    (tmp_path / "digits.npz").write_bytes(buffer.getvalue())
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"output_bias": None}, "it lacks 'output_bias'"),
        ({"output_bias": np.zeros(11)}, r"output_bias is float64 of shape \(11,\)"),
        ({"output_bias": np.full(10, np.nan)}, "not finite"),
        ({"order": np.array([0, 0, 1])}, "not a permutation"),
        ({"order": np.array([0.5])}, "Cannot cast"),
        ({"header": {"format": "cats"}}, "its format is 'cats'"),
        ({"header": {"version": 2}}, "its version is 2, and this model reads versions up to 1"),
        ({"header": {"trainer": {"rng": {}}}}, "is not a checkpoint"),
        ({"header": {"hyperparameters": {"epochs": -1}}}, "epochs must be"),
    ],
)
def test_a_checkpoint_that_does_not_hold_together_is_refused(
    built: Built, tmp_path: Path, changes: dict[str, Any], expected: str
) -> None:
    with pytest.raises(BadCheckpoint, match=expected):
        load_checkpoint(_damaged(built, tmp_path, **changes))


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04 broken off"])
def test_a_file_that_is_not_an_archive_is_refused_as_checkpoint(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "digits.npz").write_bytes(content)
    with pytest.raises(BadCheckpoint, match=r"digits\.npz' is .*damaged\. Expected a file that saveModel wrote\.$"):
        load_checkpoint(tmp_path)


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match=r"There is no checkpoint at .*Expected a folder that saveModel wrote"):
        load_checkpoint(tmp_path)
