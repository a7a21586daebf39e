"""Raises what the property ``error`` names in the hook that the property ``hook`` names."""

from __future__ import annotations

from typing import Any

from mistk_service import AbstractModel, RequestError


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("this exception cannot even be printed")


class Base(BaseException):
    pass


def _chained() -> Exception:
    error = ValueError("the effect")
    error.__cause__ = KeyError("the cause")
    return error


ERRORS = {
    "ValueError": lambda: ValueError("that went wrong"),
    "NotImplementedError": lambda: NotImplementedError("not this one"),
    "NotImplementedError.": lambda: NotImplementedError("not this one."),
    "RequestError": lambda: RequestError("epochs must be at least 1", field="hyperparameters.epochs"),
    "Unprintable": Unprintable,
    "surrogate": lambda: ValueError("a lone surrogate \ud800 here"),
    "chained": _chained,
    "SystemExit": lambda: SystemExit(3),
    "exit 0": SystemExit,
    "KeyboardInterrupt": KeyboardInterrupt,
    "Base": lambda: Base("not an Exception"),
}


class Raises(AbstractModel):
    _hook = ""
    _error = ""

    def _maybe(self, hook: str) -> None:
        if hook == self._hook:
            raise ERRORS[self._error]()

    def do_initialize(self, objectives: list[str], props: dict[str, Any], hparams: dict[str, Any]) -> None:
        self._hook, self._error = props.get("hook", ""), props.get("error", "ValueError")
        self._maybe("do_initialize")

    def do_load_data(self, dataset_map: dict[str, Any]) -> None:
        self._maybe("do_load_data")

    def do_build_model(self, path: str | None = None) -> None:
        self._maybe("do_build_model")

    def do_train(self) -> None:
        self._maybe("do_train")

    def do_save_model(self, path: str) -> None:
        self._maybe("do_save_model")

    def do_predict(self) -> None:
        self._maybe("do_predict")

    def do_save_predictions(self, dataPath: str) -> None:
        self._maybe("do_save_predictions")

    def do_stream_predict(self, data_map: dict[str, str], details: bool = False) -> dict[str, Any]:
        self._maybe("do_stream_predict")
        return dict(data_map)

    def do_update_stream_properties(self, props: dict[str, Any]) -> None:
        self._maybe("do_update_stream_properties")

    def do_generate(self) -> None:
        self._maybe("do_generate")

    def do_save_generations(self, dataPath: str) -> None:
        self._maybe("do_save_generations")

    def do_reset(self) -> None:
        self._maybe("do_reset")

    def do_terminate(self) -> None:
        self._maybe("do_terminate")
