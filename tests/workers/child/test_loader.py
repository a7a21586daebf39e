"""Loading a model from a reference: each failure has a separate error, which names the remedy."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mistk_service import AbstractModel
from mistk_service.errors import (
    BadModelReference,
    ModelClassNotFound,
    ModelConstructionFailed,
    ModelLoadError,
    ModelModuleFailed,
    ModelModuleNotFound,
    NotAModelClass,
)
from mistk_service.workers.child.loader import construct_model, load_model_class, split_reference
from tests.support.harness import MODELS

BROKEN = MODELS / "broken"


@pytest.fixture(autouse=True)
def clean_imports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let a test's imports be its own."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = dict(sys.modules)
    yield
    for name in set(sys.modules) - set(before):
        del sys.modules[name]


# --- references --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("package.module:Class", ("package.module", "Class")),
        ("module:Class", ("module", "Class")),
        ("package.module Class", ("package.module", "Class")),
        ("  package.module   Class ", ("package.module", "Class")),
        ("path/to/file.py:Class", ("path/to/file.py", "Class")),
        ("/a path/with spaces.py:Class", ("/a path/with spaces.py", "Class")),
        ("C:/folder/file.py:Class", ("C:/folder/file.py", "Class")),
        ("päckage.mödule:Klässe", ("päckage.mödule", "Klässe")),
    ],
)
def test_every_form_of_a_reference_is_understood(reference: str, parts: tuple[str, str]):
    assert split_reference(reference) == parts


@pytest.mark.parametrize(
    "reference",
    [
        "",
        " ",
        ":",
        "module",
        "module:",
        ":Class",
        "module:Class()",
        "module:a.b",
        "my-module:Class",
        "a..b:Class",
        "file.x-y:Class",
    ],
)
def test_a_malformed_reference_is_reported_with_the_forms_that_are_understood(reference: str):
    with pytest.raises(BadModelReference) as caught:
        split_reference(reference)
    assert repr(reference) in str(caught.value)
    assert "'package.module:Class', 'path/to/file.py:Class' or 'package.module Class'" in str(caught.value)


# --- loading -----------------------------------------------------------------------------------------------------------


def test_a_class_is_loaded_from_a_file():
    model_class = load_model_class(f"{MODELS}/nothing.py:Nothing")
    assert issubclass(model_class, AbstractModel)
    assert model_class.__name__ == "Nothing"


def test_a_class_is_loaded_from_a_module_of_the_folder_one_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "module_of_mine.py").write_text((MODELS / "nothing.py").read_text())
    monkeypatch.chdir(tmp_path)
    assert load_model_class("module_of_mine:Nothing").__module__ == "module_of_mine"
    assert load_model_class("module_of_mine Nothing").__name__ == "Nothing"
    assert load_model_class("module_of_mine.py:Nothing").__module__ == "module_of_mine"


def test_a_file_in_a_package_keeps_its_packages_name():
    model_class = load_model_class(f"{BROKEN}/in_a_package/model.py:Packaged")
    assert model_class.__module__ == "in_a_package.model"
    assert vars(model_class)["answer"] == 42


def test_a_file_beside_others_imports_its_neighbours(tmp_path: Path):
    (tmp_path / "neighbour_of_mine.py").write_text("ANSWER = 43\n")
    (tmp_path / "with_neighbour.py").write_text(
        "from mistk_service import AbstractModel\nfrom neighbour_of_mine import ANSWER\n"
        "class Model(AbstractModel):\n    answer = ANSWER\n"
    )
    assert vars(load_model_class(f"{tmp_path}/with_neighbour.py:Model"))["answer"] == 43


@pytest.mark.parametrize(
    "name", ["a_library_that_nobody_has", "a_library_that_nobody_has.sub", "os.nothing_there", "os.path.x"]
)
def test_a_missing_module_is_distinguished_from_one_that_fails(name: str):
    with pytest.raises(ModelModuleNotFound) as caught:
        load_model_class(f"{name}:Model")
    assert "there is no module" in str(caught.value)
    assert str(Path.cwd()) in str(caught.value)


def test_a_missing_file_is_reported_with_its_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelModuleNotFound) as caught:
        load_model_class("not/there.py:Model")
    assert f"there is no file {tmp_path}/not/there.py" in str(caught.value)


def test_a_folder_in_place_of_the_file_is_not_a_file(tmp_path: Path):
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(ModelModuleNotFound):
        load_model_class(f"{tmp_path}/folder.py:Model")


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("raises_on_import", "raised ValueError: this module cannot be imported"),
        (
            "imports_what_is_missing",
            "raised ModuleNotFoundError: No module named 'a_library_that_nobody_has'",
        ),
        ("exits_on_import", "raised SystemExit: 3"),
    ],
)
def test_a_module_that_fails_is_reported_with_its_traceback(file: str, words: str):
    with pytest.raises(ModelModuleFailed) as caught:
        load_model_class(f"{BROKEN}/{file}.py:Model")
    assert words in str(caught.value)
    assert f"{file}.py" in (caught.value.traceback or "")


def test_a_module_that_does_not_parse_is_reported_with_the_place(tmp_path: Path):
    (tmp_path / "does_not_parse.py").write_text("class Model(\n")
    with pytest.raises(ModelModuleFailed, match="SyntaxError") as caught:
        load_model_class(f"{tmp_path}/does_not_parse.py:Model")
    assert "does_not_parse.py" in (caught.value.traceback or "")


def test_a_missing_class_is_reported_with_those_that_are_there():
    with pytest.raises(ModelClassNotFound) as caught:
        load_model_class(f"{BROKEN}/classes.py:Model")
    message = str(caught.value)
    assert "has no 'Model'" in message
    assert "Good" in message
    assert "NoModel" not in message


def test_a_module_without_any_model_is_reported(tmp_path: Path):
    (tmp_path / "empty_module_of_mine.py").touch()
    with pytest.raises(ModelClassNotFound, match="no subclass of AbstractModel or AbstractEvaluationPlugin"):
        load_model_class(f"{tmp_path}/empty_module_of_mine.py:Model")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("NoModel", "expected a subclass of mistk_service.AbstractModel"),
        ("a_function", "expected a subclass of mistk_service.AbstractModel"),
        ("AbstractModel", "is AbstractModel itself"),
        ("Abstract", "does not implement these abstract methods: what_is_left_open"),
    ],
)
def test_what_is_not_a_model_class_is_reported(name: str, words: str):
    with pytest.raises(NotAModelClass, match=words):
        load_model_class(f"{BROKEN}/classes.py:{name}")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("RaisesInConstructor", "raised RuntimeError: no instance of this one"),
        ("ExitsInConstructor", "raised SystemExit: 4"),
        ("WantsArguments", "raised TypeError: .*size"),
    ],
)
def test_a_constructor_that_fails_is_reported_with_its_traceback(name: str, words: str):
    reference = f"{BROKEN}/classes.py:{name}"
    with pytest.raises(ModelConstructionFailed, match=words) as caught:
        construct_model(load_model_class(reference), reference)
    assert caught.value.traceback


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("BadBatchSize", "max_batch_size is 'many'; expected a whole number"),
        ("NoBatchSize", "max_batch_size is None; expected a whole number"),
        ("HookIsNoMethod", "do_stream_predict is 5; expected a method"),
        ("UnknownEncoding", "record_encoding: Invalid enum value 'hex'; expected 'base64' or None"),
        ("OneNameTwice", "inputs: two tensors have the same name; expected a list of"),
        ("NoFlag", "NoFlag': serve_while_training: Expected `bool`, got `str`; expected True or False"),
    ],
)
def test_a_model_with_something_else_in_the_place_of_what_is_called_is_reported(name: str, words: str):
    reference = f"{BROKEN}/classes.py:{name}"
    with pytest.raises(NotAModelClass, match=words):
        construct_model(load_model_class(reference), reference)


def test_a_file_whose_name_is_that_of_another_module_is_reported(tmp_path: Path):
    (tmp_path / "random.py").write_text((MODELS / "nothing.py").read_text())
    with pytest.raises(ModelModuleNotFound, match=r"that name is taken\. Rename the file") as caught:
        load_model_class(f"{tmp_path}/random.py:Nothing")
    assert f"{tmp_path}/random.py" in str(caught.value)


def test_a_file_with_a_dot_in_its_name_is_refused_in_words(tmp_path: Path):
    (tmp_path / "my.model.py").write_text((MODELS / "nothing.py").read_text())
    with pytest.raises(BadModelReference, match=r"'my\.model' cannot be imported.* Rename it"):
        load_model_class(f"{tmp_path}/my.model.py:Nothing")


def test_a_model_is_constructed():
    reference = f"{BROKEN}/classes.py:Good"
    assert isinstance(construct_model(load_model_class(reference), reference), AbstractModel)


def test_a_method_with_nearly_the_name_of_a_hook_is_reported(caplog: pytest.LogCaptureFixture):
    class Misspelled(AbstractModel):
        def do_train(self):
            pass

        def do_stream_predcit(self, data_map, details=False):
            pass

        def do_trains(self):
            """Near to a hook that is there."""

        def do_normalize(self):
            """Near to none."""

    construct_model(Misspelled, "models:Misspelled")
    assert caplog.messages == ["Misspelled.do_stream_predcit is not a hook; did you mean do_stream_predict?"]


@pytest.mark.parametrize(("declared", "shown"), [({"rate": 0.1}, "a dict"), (int, "int"), (None, None)])
def test_hyperparameters_that_declare_nothing_are_reported(
    caplog: pytest.LogCaptureFixture, declared: Any, shown: str | None
):
    class Undeclared(AbstractModel):
        hyperparameters = declared

        def do_train(self):
            pass

    construct_model(Undeclared, "models:Undeclared")
    expected = "Undeclared.hyperparameters is {}, which declares nothing; expected a msgspec struct or a dataclass."
    assert caplog.messages == ([] if shown is None else [expected.format(shown)])


def test_all_of_these_errors_are_one_kind():
    for error in (BadModelReference, ModelModuleNotFound, ModelModuleFailed, ModelClassNotFound, NotAModelClass):
        assert issubclass(error, ModelLoadError)
