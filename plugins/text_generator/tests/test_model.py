"""The model through its hooks: it learns, it writes, and interruptions make no difference."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from text_generator.checkpoint import load_checkpoint
from text_generator.errors import BadCheckpoint, BadRecord, BadSetting, CannotWrite, NotReady, UnreadableText
from text_generator.model import TextGenerator
from text_generator.reader import Prompt, read_prompts, read_text

from mistk_service import MistkDataset, RequestError, StopActivity

BOOK = Path(__file__).parent.parent / "data" / "alice.txt"
#: Of alice29.txt in the Canterbury Corpus.
CORPUS_SHA256 = "7467306ee0feed4971260f3c87421154a05be571d944e9cb021a5713700c38f0"
#: A training of five chunks and a bit.
QUICK = {"order": 4, "chunk": 25_000}
PAUSE_POINTS = 6 + 1

Interrupt = Callable[..., Any]


def built(
    hparams: dict[str, Any] = QUICK, props: dict[str, Any] | None = None, checkpoint: Path | None = None, **paths: Path
) -> TextGenerator:
    model = TextGenerator()
    model.do_initialize(["training", "generation"], props or {}, dict(hparams))
    model.do_load_data({role: MistkDataset(data_path=str(p)) for role, p in (paths or {"train": BOOK}).items()})
    model.do_build_model(str(checkpoint) if checkpoint else None)
    return model


def state_of(model: TextGenerator, folder: Path) -> dict[str, bytes]:
    model.do_save_model(str(folder))
    with np.load(folder / "text_generator.npz") as archive:
        return {name: archive[name].tobytes() for name in archive.files}


@pytest.fixture(scope="module")
def trained() -> TextGenerator:
    model = built()
    model.do_train()
    return model


@pytest.fixture(scope="module")
def saved(trained: TextGenerator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    trained.do_save_model(str(folder))
    return folder


def test_the_book_is_the_one_of_the_corpus() -> None:
    original = BOOK.read_bytes().replace(b"\n", b"\r\n") + b"\x1a"
    assert hashlib.sha256(original).hexdigest() == CORPUS_SHA256


def test_the_more_it_has_read_the_better_it_foresees(interrupt: Interrupt) -> None:
    model = built({})
    context = interrupt(model, None)
    model.do_train()
    values = [value for name, value, _ in context.metrics if name == "bits_per_character"]
    steps = [step for _, _, step in context.metrics]
    assert len(values) == 17
    assert steps == sorted(steps)
    assert steps[-1] == context.status["characters_read"] == round(0.9 * len(BOOK.read_text()))
    assert values[-1] < 2.4 < 3.3 < values[0]
    assert context.done == (17, 17, "chunks")


@pytest.mark.parametrize("at", range(PAUSE_POINTS))
def test_a_training_saved_while_paused_and_rebuilt_ends_in_the_same_bits(
    tmp_path: Path, interrupt: Interrupt, trained: TextGenerator, at: int
) -> None:
    first = built()
    interrupt(first, at, lambda: first.do_save_model(str(tmp_path)))
    with pytest.raises(StopActivity):
        first.do_train()
    again = built(checkpoint=tmp_path)
    interrupt(again, None)
    again.do_train()
    assert state_of(again, tmp_path / "again") == state_of(trained, tmp_path / "straight")


def test_a_text_that_was_read_is_not_counted_again(tmp_path: Path, saved: Path, interrupt: Interrupt) -> None:
    model = built(checkpoint=saved)
    context = interrupt(model, None)
    before = state_of(model, tmp_path / "before")
    model.do_train()
    assert state_of(model, tmp_path / "after") == before
    assert [name for name, _, _ in context.metrics] == ["bits_per_character"]


def test_another_text_adds_to_what_was_read(tmp_path: Path, saved: Path, interrupt: Interrupt) -> None:
    (tmp_path / "train.txt").write_text("Zur Königin sprach der Märzhase. " * 40, encoding="utf-8")
    model = built({"held_out": 0}, checkpoint=saved, train=tmp_path)
    context = interrupt(model, None)
    model.do_build_model(str(saved))
    before = context.status["characters_read"]
    model.do_train()
    assert context.status["characters_read"] == before + 33 * 40
    answer = model.do_stream_predict({"a": encoded("Zur Kön")})["a"]
    assert answer["text"].startswith("igin")


def test_a_test_text_is_measured_on_and_the_whole_book_read(tmp_path: Path, interrupt: Interrupt) -> None:
    (tmp_path / "other.txt").write_text("Alice was beginning to get very tired of sitting by her sister.")
    model = built(train=BOOK, test=tmp_path)
    context = interrupt(model, None)
    model.do_train()
    assert context.status["characters_read"] == len(BOOK.read_text())
    assert context.metrics[-1][1] < 2.0


def test_generations_are_written_for_programs_and_for_people(tmp_path: Path, saved: Path, interrupt: Interrupt) -> None:
    model = built({}, {"length": 150, "samples": 2, "prompt": "The Queen ", "seed": 3}, saved)
    context = interrupt(model, None)
    model.do_generate()
    model.do_save_generations(str(tmp_path / "new"))
    lines = (tmp_path / "new" / "generations.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["id"] for row in rows] == ["0-0", "0-1"]
    assert all(row["prompt"] == "The Queen " and len(row["text"]) == 150 for row in rows)
    assert rows[0]["text"] != rows[1]["text"]
    page = (tmp_path / "new" / "generations.txt").read_text(encoding="utf-8")
    assert all("The Queen " + row["text"] in page for row in rows)
    assert context.status["generations"] == 2
    assert context.done == (2, 2, "texts")


def test_the_seed_decides_what_is_written(tmp_path: Path, saved: Path) -> None:
    written = []
    for seed in (1, 1, 2):
        model = built({}, {"length": 60, "seed": seed}, saved)
        model.do_generate()
        model.do_save_generations(str(tmp_path))
        rows = (tmp_path / "generations.jsonl").read_text().splitlines()
        written.append([json.loads(row)["text"] for row in rows])
    assert written[0] == written[1]
    assert written[0] != written[2]


def test_prompts_come_from_the_dataset_generate(tmp_path: Path, saved: Path) -> None:
    (tmp_path / "generate.jsonl").write_text('{"id": "q", "prompt": "The Queen"}\n\n{"prompt": "Who"}\n')
    model = built({}, {"length": 10, "samples": 1}, saved, generate=tmp_path)
    model.do_generate()
    model.do_save_generations(str(tmp_path))
    rows = [json.loads(line) for line in (tmp_path / "generations.jsonl").read_text().splitlines()]
    assert [(row["id"], row["prompt"]) for row in rows] == [("q", "The Queen"), ("1", "Who")]


def test_generating_stops_at_a_pause_point_and_leaves_the_last_generations(
    tmp_path: Path, saved: Path, interrupt: Interrupt
) -> None:
    model = built({}, {"length": 1000, "samples": 1}, saved)
    model.do_generate()
    context = interrupt(model, 5)
    with pytest.raises(StopActivity):
        model.do_generate()
    assert context.passed == 6
    model.do_save_generations(str(tmp_path))
    (row,) = (tmp_path / "generations.jsonl").read_text().splitlines()
    assert len(json.loads(row)["text"]) == 1000


def encoded(prompt: str) -> str:
    return base64.b64encode(prompt.encode()).decode()


def test_stream_predictions_continue_after_the_prompt_whatever_else_is_asked(trained: TextGenerator) -> None:
    both = trained.do_stream_predict({"a": encoded("The Hatter"), "b": encoded("")})
    assert both["a"]["prompt"] == "The Hatter"
    assert both["b"]["prompt"] == "Alice "
    assert len(both["a"]["text"]) == 400
    assert trained.do_stream_predict({"a": encoded("The Hatter")}) == {"a": both["a"]}


def test_stream_properties_govern_the_stream_and_nothing_else(saved: Path, tmp_path: Path) -> None:
    model = built({}, {"samples": 1}, saved)
    model.do_update_stream_properties({"temperature": 0, "length": "20"})
    cold = model.do_stream_predict({"a": encoded("The "), "b": encoded("The ")})
    assert cold["a"] == cold["b"]
    assert len(cold["a"]["text"]) == 20
    with pytest.raises(BadSetting, match="did you mean temperature"):
        model.do_update_stream_properties({"length": 5, "temprature": 1})
    assert len(model.do_stream_predict({"a": encoded("The ")})["a"]["text"]) == 20
    model.do_generate()
    model.do_save_generations(str(tmp_path))
    assert len(json.loads((tmp_path / "generations.jsonl").read_text())["text"]) == 400


def test_details_name_the_likeliest_characters(trained: TextGenerator) -> None:
    answer = trained.do_stream_predict({"a": encoded("Alic")}, details=True)["a"]
    assert answer["explanation"].splitlines()[0] == 'After "lic" comes'
    assert answer["explanation"].splitlines()[4].startswith('| "e" | 0.9')


@pytest.mark.parametrize("text", ["%%%", "abc", base64.b64encode(b"\xff\xfe").decode(), None])
def test_a_record_that_is_not_a_prompt_is_named(trained: TextGenerator, text: Any) -> None:
    with pytest.raises(BadRecord, match=r"'bad one' is not a prompt: .*Expected a text in UTF-8, in base64") as caught:
        trained.do_stream_predict({"good": encoded("a"), "bad one": text})
    assert caught.value.identifier == "bad one"


def test_a_model_that_has_read_nothing_says_so(tmp_path: Path) -> None:
    model = built()
    for call in (model.do_generate, lambda: model.do_stream_predict({"a": ""})):
        with pytest.raises(NotReady, match="is not trained"):
            call()
    with pytest.raises(NotReady, match="call generate first"):
        model.do_save_generations(str(tmp_path))
    with pytest.raises(NotReady, match="call buildModel"):
        TextGenerator().do_save_model(str(tmp_path))
    other = TextGenerator()
    other.do_build_model()
    with pytest.raises(NotReady, match="'train' yet"):
        other.do_train()


@pytest.mark.parametrize(
    ("hparams", "props", "expected"),
    [
        ({"ordr": 3}, {}, r"'ordr' is not a setting here \(did you mean order\?\)"),
        ({"order": 9}, {}, "order must be a whole number from 1 to 8, not 9"),
        ({"discount": 1}, {}, "discount must be a number between 0 and 1, not 1"),
        ({}, {"order": 3}, "'order' is not a setting here"),
        ({}, {"temperature": -1, "length": 1.5}, "temperature must be .*; length must be"),
        ({}, {"prompt": 7}, "prompt must be a text, not 7"),
        ({"temperature": True}, {}, "not True"),
        ({"held_out": "1e999"}, {}, "held_out must be"),
    ],
)
def test_a_wrong_setting_is_refused_with_what_is_right(
    hparams: dict[str, Any], props: dict[str, Any], expected: str
) -> None:
    with pytest.raises(BadSetting, match=expected):
        TextGenerator().do_initialize(["generation"], props, hparams)


def test_settings_for_writing_may_be_hyperparameters_and_properties_win(interrupt: Interrupt) -> None:
    model = TextGenerator()
    context = interrupt(model, None)
    model.do_initialize(["generation"], {"length": "7"}, {"length": 5, "temperature": "0.5", "order": 3})
    model.do_build_model()
    assert {name: context.params[name] for name in ("length", "temperature", "order")} == {
        "length": 7,
        "temperature": 0.5,
        "order": 3,
    }


def test_prediction_of_a_test_set_is_declined_as_unsupported() -> None:
    with pytest.raises(RequestError, match="leave out prediction"):
        TextGenerator().do_initialize(["training", "prediction"], {}, {})


def test_a_checkpoint_of_another_order_is_refused(saved: Path) -> None:
    with pytest.raises(BadCheckpoint, match="leave order out"):
        built({"order": 5}, checkpoint=saved)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"keys_2": None}, "it lacks 'keys_2"),
        ({"keys_1": np.array([3, 2], dtype=np.uint64), "counts_1": np.array([1, 1])}, "1-grams are not in order"),
        ({"counts_1": np.array([1])}, "of wrong types or sizes"),
        ({"keys_1": np.array([99], dtype=np.uint64), "counts_1": np.array([1])}, "alphabet does not have"),
        ({"header": {"format": "cats"}}, "its format is 'cats'"),
        ({"header": {"version": 2}}, "its version is 2, and this model reads versions up to 1"),
        ({"header": {"alphabet": "aa"}}, "a character twice"),
        ({"header": {"settings": {"order": 0}}}, "order must be"),
    ],
)
def test_a_checkpoint_that_does_not_hold_together_is_refused(
    tmp_path: Path, saved: Path, changes: dict[str, Any], expected: str
) -> None:
    with np.load(saved / "text_generator.npz") as archive:
        arrays: dict[str, Any] = {name: archive[name] for name in archive.files}
    header = json.loads(str(arrays["header"])) | changes.get("header", {})
    arrays |= changes | {"header": np.array(json.dumps(header))}
    buffer = io.BytesIO()
    np.savez(buffer, **{name: value for name, value in arrays.items() if value is not None})
    (tmp_path / "text_generator.npz").write_bytes(buffer.getvalue())
    with pytest.raises(BadCheckpoint, match=expected):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04 broken off", None])
def test_what_is_not_a_checkpoint_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "text_generator.npz").write_bytes(content)
    with pytest.raises(BadCheckpoint, match=r"text_generator\.npz"):
        load_checkpoint(tmp_path)


def test_a_place_that_cannot_be_written_is_named(trained: TextGenerator, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CannotWrite, match=r"Cannot write text_generator\.npz to .*is a file and not a folder"):
        trained.do_save_model(str(tmp_path / "file"))


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=4), st.booleans())
def test_prompts_in_json_lines_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], zipped: bool
) -> None:
    file = tmp_path_factory.getbasetemp() / "prompts.jsonl"
    content = "\n".join(json.dumps({"id": f"n{i}", "prompt": text}) for i, text in enumerate(texts)).encode()
    file.write_bytes(gzip.compress(content) if zipped else content)
    assert read_prompts(file) == [Prompt(f"n{i}", text) for i, text in enumerate(texts)]


def test_prompts_may_be_lines_or_a_table(tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("Alice\n\n The Queen\n")
    assert read_prompts(tmp_path / "lines.txt") == [Prompt("0", "Alice"), Prompt("1", " The Queen")]
    (tmp_path / "table.csv").write_text('prompt,id\n"Oh, dear",a\nWell,b\n')
    assert read_prompts(tmp_path / "table.csv") == [Prompt("a", "Oh, dear"), Prompt("b", "Well")]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.jsonl", '{"prompt": "x"}\nnonsense', "line 2: it is not JSON"),
        ("a.jsonl", '["x"]', "line 1: expected an object"),
        ("a.jsonl", '{"prompt": "\\ud800"}', "half a surrogate pair"),
        ("a.jsonl", '{"id": 1, "prompt": "x"}\n{"id": "1", "prompt": "y"}', "the same id twice"),
        ("a.csv", "id,text\n1,x\n", "but no column prompt"),
        ("a.csv", "", "the header has nothing"),
        ("a.txt", "\n \n", "has no prompts"),
    ],
)
def test_prompts_that_are_none_are_refused(tmp_path: Path, name: str, content: str, expected: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UnreadableText, match=expected):
        read_prompts(tmp_path / name)


def test_texts_may_be_gzipped_and_have_any_line_ends(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(gzip.compress("\ufeffone\r\ntwo\rthree\n".encode()))
    assert read_text(tmp_path) == "one\ntwo\nthree\n"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\xe4h", "not text in UTF-8: byte 0 is 0xe4"),
        (b" \n", "is empty"),
        (gzip.compress(b"text", mtime=0)[:-3], "is damaged gzip"),
    ],
)
def test_what_is_not_a_text_is_refused(tmp_path: Path, content: bytes, expected: str) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(UnreadableText, match=expected):
        read_text(tmp_path / "a.txt")


def test_where_a_text_was_looked_for_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableText, match="no file or folder"):
        read_text(tmp_path / "nowhere.txt")
    with pytest.raises(UnreadableText, match="holds no text"):
        read_text(tmp_path)
    for name in ("one.txt", "two.txt"):
        (tmp_path / name).write_text(name)
    with pytest.raises(UnreadableText, match=r"several texts \(one.txt, two.txt\)"):
        read_text(tmp_path, role="train")
    (tmp_path / "train.txt").write_text("this one")
    assert read_text(tmp_path, role="train") == "this one"


def test_a_dataset_of_no_use_is_refused_and_the_others_are_kept(interrupt: Interrupt) -> None:
    model = TextGenerator()
    context = interrupt(model, None)
    model.do_load_data({"train": MistkDataset(data_path=str(BOOK))})
    for datasets in ({"validate": MistkDataset(data_path=str(BOOK))}, {"test": MistkDataset()}):
        with pytest.raises(UnreadableText, match="expected train, test or generate with a dataPath"):
            model.do_load_data(datasets)
    model.do_build_model()
    assert context.status["texts"] == {"train": 148480}
