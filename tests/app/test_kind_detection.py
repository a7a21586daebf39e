"""The kind of container is detected from the source of the class, or else by importing it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mistk_service.app.kind_detection import detected_kind

FILES = {
    "plain.py": "from mistk_service import AbstractEvaluationPlugin\nclass C(AbstractEvaluationPlugin): pass\n",
    "renamed.py": "from mistk_service import AbstractTransformPlugin as Base\nclass C(Base): pass\n",
    "dotted.py": "import mistk_service as m\nclass C(object, m.AbstractTransformPlugin): pass\n",
    "local.py": "from mistk_service import AbstractEvaluationPlugin as E\nclass B(E): pass\nclass C(B): pass\n",
    "imported.py": "from plain import C as B\nclass C(B): pass\n",
    "module.py": "import plain\nclass C(plain.C): pass\n",
    "module_renamed.py": "import package.base as m\nclass C(m.B): pass\n",
    "module_of.py": "from package import base\nclass C(base.B): pass\n",
    "all.py": "import os\nfrom plain import *\nclass D(C): pass\n",
    "package/__init__.py": "from .inner.deep import C\n",
    "package/inner/__init__.py": "",
    "package/inner/deep.py": "from ..base import B\nclass C(B): pass\n",
    "package/base.py": "from mistk_service import AbstractTransformPlugin\nclass B(AbstractTransformPlugin): pass\n",
    "made.py": "import mistk_service\nprint('noise')\nC = type('C', (mistk_service.AbstractTransformPlugin,), {})\n",
    "circle.py": "class C(C): pass\n",
    "broken.py": "class C(:\n",
    "model.py": "from mistk_service import AbstractModel\nclass C(AbstractModel): pass\nraise SystemExit('not here')\n",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("reference", "kind"),
    [
        ("plain:C", "evaluation"),
        ("plain.py:C", "evaluation"),
        ("plain C", "evaluation"),
        ("renamed:C", "transform"),
        ("dotted:C", "transform"),
        ("local:C", "evaluation"),
        ("imported.py:C", "evaluation"),
        ("module:C", "evaluation"),
        ("module_renamed:C", "transform"),
        ("module_of:C", "transform"),
        ("all:D", "evaluation"),
        ("package:C", "transform"),
        ("package.inner.deep:C", "transform"),
        ("package/inner/deep.py:C", "transform"),
        ("model:C", "model"),
    ],
)
def test_the_source_tells_the_kind_and_nothing_is_imported(folder: Path, reference: str, kind: str) -> None:
    nothing = {"PATH": "/nowhere"}  # in which a process of its own could not import the package
    assert detected_kind(reference, nothing).name == kind


def test_a_class_that_only_its_import_shows_is_imported_elsewhere(folder: Path) -> None:
    assert detected_kind("made:C", os.environ).name == "transform"


@pytest.mark.parametrize("reference", ["circle:C", "broken:C", "missing:C", "missing.py:C", "plain:Missing"])
def test_what_cannot_be_loaded_counts_as_a_model_whose_worker_says_what_is_wrong(folder: Path, reference: str) -> None:
    assert detected_kind(reference, os.environ).name == "model"
