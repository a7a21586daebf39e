"""Ensembles, smaller models, and predictions for a source."""

from __future__ import annotations

import base64
import functools
import http.server
import json
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from digits.errors import BadCheckpoint, BadSource, NotReady, UnreadableData
from digits.model import Digits

from mistk_service import DetachedContext, MistkDataset, RequestError, StopActivity

DATA = Path(__file__).parent.parent / "data"
QUICK = {"epochs": 8, "hidden": 24}


def trained(folder: Path, **hparams: Any) -> Digits:
    """Return a trained model, saved to a folder."""
    model = Digits()
    model.do_initialize([], {}, QUICK | hparams)
    model.do_load_data({role: MistkDataset(data_path=str(DATA / f"{role}.csv")) for role in ("train", "test")})
    model.do_build_model()
    model.do_train()
    model.do_save_model(str(folder))
    return model


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two trained models, of different sizes."""
    folder = tmp_path_factory.mktemp("members")
    for name, hparams in {"small": {"hidden": 8, "seed": 1}, "large": {"seed": 2}}.items():
        trained(folder / name, **hparams)
    return {name: folder / name for name in ("small", "large")}


@pytest.fixture
def model(members: dict[str, Path]) -> Digits:
    """A trained model with its test set."""
    return built(members["large"])


def built(path: Path) -> Digits:
    model = Digits()
    model.do_initialize([], {}, {})
    model.do_load_data({"test": MistkDataset(data_path=str(DATA / "test.csv"))})
    model.do_build_model(str(path))
    return model


def attached(model: Digits) -> DetachedContext:
    context = DetachedContext()
    model.attach(context)
    return context


def assembled(paths: dict[str, Path]) -> Digits:
    model = Digits()
    model.do_initialize([], {}, {})
    model.do_load_data({"test": MistkDataset(data_path=str(DATA / "test.csv"))})
    model.do_build_ensemble(None, {name: str(path) for name, path in paths.items()})
    model.do_build_model(None)
    return model


# --- ensembles ----------------------------------------------------------------------------------------------------


def test_an_ensemble_answers_with_the_mean_of_its_members(members: dict[str, Path], tmp_path: Path) -> None:
    ensemble = assembled(members)
    record = {"a": base64.b64encode(struct.pack("<64f", *range(64 // 4), *[8.0] * 48)).decode()}
    rows = [
        each.do_stream_predict(record, details=True)["a"]["probabilities"]
        for each in (*map(built, members.values()), ensemble)
    ]
    assert rows[2] == pytest.approx(np.mean(rows[:2], axis=0), abs=1e-5)
    context = attached(ensemble)
    ensemble.do_predict()
    assert context.status["members"] == ["small", "large"]
    assert context.status["test_accuracy"] > 0.8
    ensemble.do_save_model(str(tmp_path))
    assert built(tmp_path).do_stream_predict(record) == ensemble.do_stream_predict(record)


def test_an_ensemble_is_not_trained_nor_made_smaller(members: dict[str, Path], tmp_path: Path) -> None:
    ensemble = assembled(members)
    for call in (ensemble.do_train, functools.partial(ensemble.do_miniaturize, str(tmp_path), True)):
        with pytest.raises(NotReady, match="ensemble"):
            call()
    assert list(tmp_path.iterdir()) == []


def test_after_an_ensemble_a_single_model_can_be_built(members: dict[str, Path]) -> None:
    model = assembled(members)
    model.do_build_model(str(members["small"]))
    context = attached(model)
    model.do_predict()
    assert "members" not in context.status


def test_members_that_are_not_models_are_named(members: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match=r"modelPaths\.odd"):
        assembled({**members, "odd": tmp_path})
    for path in (None, "http://localhost:8080"):
        with pytest.raises(RequestError, match="no models to combine"):
            Digits().do_build_ensemble(path, {})


# --- smaller models -----------------------------------------------------------------------------------------------


def test_smaller_models_are_much_smaller_and_nearly_as_good(
    model: Digits, members: dict[str, Path], tmp_path: Path
) -> None:
    context = attached(model)
    model.do_predict()
    model.do_miniaturize(str(tmp_path), True)
    values = {key: value for key, value, _ in context.metrics}
    whole = (members["large"] / "digits.npz").stat().st_size
    assert values["int8_bytes"] < values["float16_bytes"] < whole / 4
    assert values["float16_accuracy"] == pytest.approx(values["test_accuracy"], abs=0.01)
    assert values["int8_accuracy"] == pytest.approx(values["test_accuracy"], abs=0.03)
    assert context.status["int8_accuracy"] == values["int8_accuracy"]
    for name in ("digits-int8.npz", "digits-float16.npz"):
        smaller = built(tmp_path / name)
        reported = attached(smaller)
        smaller.do_predict()
        assert reported.status["test_accuracy"] == values[f"{name[7:-4]}_accuracy"]


def test_half_precision_is_left_out_unless_it_is_wanted(model: Digits, tmp_path: Path) -> None:
    model.do_miniaturize(str(tmp_path), False)
    assert [file.name for file in tmp_path.iterdir()] == ["digits-int8.npz"]


def test_training_continues_from_a_smaller_model(model: Digits, tmp_path: Path) -> None:
    model.do_miniaturize(str(tmp_path), False)
    smaller = built(tmp_path)
    smaller.do_load_data({"train": MistkDataset(data_path=str(DATA / "train.csv"))})
    context = attached(smaller)
    smaller.do_train()
    assert context.status["train_accuracy"] > 0.85


def test_a_damaged_smaller_model_is_refused(model: Digits, tmp_path: Path) -> None:
    model.do_miniaturize(str(tmp_path), False)
    file = tmp_path / "digits-int8.npz"
    with np.load(file) as archive:
        arrays = dict(archive)
    np.savez(file, **{key: value for key, value in arrays.items() if key != "scale_hidden_weights"})
    with pytest.raises(BadCheckpoint, match="scale_hidden_weights"):
        built(tmp_path)
    file.write_bytes(b"PK nonsense")
    with pytest.raises(BadCheckpoint):
        built(tmp_path)


# --- sources ------------------------------------------------------------------------------------------------------


def answers(model: Digits, source: object, form: str | None = None, **props: Any) -> dict[str, Any]:
    """Return all predictions for a source that ends."""
    context = attached(model)
    model.do_stream_predict_source(str(source), form, props)
    return {key: value for part in context.published for key, value in part.items()}


def lines(count: int = 3) -> str:
    rows = [row.split(",") for row in (DATA / "test.csv").read_text().splitlines()[1 : count + 1]]
    packed: dict[str, Any] = {}
    for index, (key, _, *cells) in enumerate(rows):
        pixels = [float(cell) for cell in cells]
        packed[key] = base64.b64encode(struct.pack("<64f", *pixels)).decode() if index % 2 else pixels
    return "".join(json.dumps({key: value}) + "\n" for key, value in packed.items())


def expected(model: Digits, count: int = 3) -> dict[str, Any]:
    model.do_predict()
    everything = answers(model, DATA / "test.csv")
    return dict(list(everything.items())[:count])


def test_a_table_and_lines_of_json_give_the_same_predictions(model: Digits, tmp_path: Path) -> None:
    file = tmp_path / "records.ndjson"
    file.write_text(lines())
    found = answers(model, file)
    assert found == expected(model)
    assert answers(model, f"file://{file}", "ndjson") == found
    assert len(answers(model, DATA / "test.csv", "csv")) == 355


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        is_table = self.path.endswith(".csv")
        body = (DATA / "test.csv").read_bytes() if is_table else lines().encode()
        self.send_response(200 if "missing" not in self.path else 404)
        self.send_header("Content-Type", "text/csv" if is_table else "application/x-ndjson")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_url_gives_a_table_or_lines(model: Digits, url: str) -> None:
    assert answers(model, f"{url}/stream") == expected(model)
    assert len(answers(model, f"{url}/test.csv")) == 355
    with pytest.raises(BadSource, match="404"):
        answers(model, f"{url}/missing")


class Watching(DetachedContext):
    """Lets a folder fill while it is watched, and ends the watch after so many updates."""

    def __init__(self, folder: Path, updates: int) -> None:
        super().__init__()
        self._folder, self._updates, self._looks = folder, updates, 0

    def pause_point(self) -> None:
        self._looks += 1
        if self._looks == 2:
            (self._folder / "late.ndjson").write_text(lines(1))
        if len(self.published) >= self._updates:
            raise StopActivity


def test_a_folder_is_watched_and_an_unreadable_file_does_not_end_it(model: Digits, tmp_path: Path) -> None:
    (tmp_path / "first.ndjson").write_text(lines(2))
    (tmp_path / "odd.csv").write_text("1,2,3\n")
    context = Watching(tmp_path, 4)
    model.attach(context)
    with pytest.raises(StopActivity):
        model.do_stream_predict_source(str(tmp_path), None, {"poll_seconds": 0.01})
    found = {key: value for part in context.published for key, value in part.items()}
    prefixes = [key.partition("/")[0] for key in found]
    assert sorted(prefixes) == ["first.ndjson", "first.ndjson", "late.ndjson", "odd.csv"]
    assert "3 columns" in found["odd.csv"]["error"]


@pytest.mark.parametrize(
    ("source", "form", "props", "error", "match"),
    [
        ("/no/such/file.csv", None, {}, UnreadableData, "no file"),
        ("/no/such/file.ndjson", None, {}, BadSource, "source"),
        ("http://127.0.0.1:1/x", None, {}, BadSource, "source"),
        (DATA, "mp4", {}, BadSource, "format"),
        (DATA, None, {"pol_seconds": 1}, BadSource, "pol_seconds"),
        (DATA, None, {"poll_seconds": 0}, BadSource, "poll_seconds"),
        (DATA, None, {"poll_seconds": "often"}, BadSource, "poll_seconds"),
    ],
)
def test_a_source_that_cannot_be_read_is_refused(
    model: Digits, source: object, form: str | None, props: dict[str, Any], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match) as caught:
        answers(model, source, form, **props)
    assert isinstance(caught.value, RequestError)


@pytest.mark.parametrize("line", ["[1]", "nonsense", '{"a": [1, 2]}', '{"a": "YQ=="}', '{"a": 5}'])
def test_a_line_that_holds_no_image_is_named(model: Digits, tmp_path: Path, line: str) -> None:
    file = tmp_path / "records.ndjson"
    file.write_text(f"{lines(1)}\n{line}\n")
    with pytest.raises(UnreadableData, match="line 3"):
        answers(model, file)
