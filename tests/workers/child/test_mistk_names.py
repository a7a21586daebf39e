"""MISTK's names lead to the same objects as this package's own."""

from __future__ import annotations

import importlib

import pytest

import mistk_service
from mistk_service.workers.child.mistk_names import install


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("mistk.abstract_model", "AbstractModel"),
        ("mistk.model.abstract_model", "AbstractModel"),
        ("mistk.evaluation.abstract_evaluation_plugin", "AbstractEvaluationPlugin"),
        ("mistk.transform.abstract_transform_plugin", "AbstractTransformPlugin"),
        ("mistk.agent.abstract_agent", "AbstractAgent"),
        ("mistk.orchestrator.abstract_orchestrator", "AbstractOrchestrator"),
        ("mistk.data", "MistkDataset"),
    ],
)
def test_a_class_is_the_same_under_both_names(module: str, name: str) -> None:
    install()
    assert getattr(importlib.import_module(module), name) is getattr(mistk_service, name)


def test_a_module_that_mistk_does_not_have_is_not_found() -> None:
    install()
    with pytest.raises(ModuleNotFoundError, match=r"mistk\.nothing"):
        importlib.import_module("mistk.nothing")
