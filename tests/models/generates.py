"""Yields the words of a prompt, but does what some of them say. The status shows what it was given, and that it was closed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mistk_service import AbstractModel, RequestError


class Generates(AbstractModel):
    def do_generate_stream(self, prompt: str, parameters: dict[str, Any]) -> Iterator[Any]:
        try:
            for word in prompt.split():
                yield from self._what_it_says(word)
        finally:
            self.update_status({"prompt": prompt, "parameters": parameters, "closed": True})

    def _what_it_says(self, word: str) -> Iterator[Any]:
        if word == "raise":
            raise ValueError("told to raise")
        if word == "refuse":
            raise RequestError("told to refuse")
        while word == "forever":
            yield "on "
        yield {"number": 1, "bytes": b"x"}.get(word, f"{word} ")


class Whole(AbstractModel):
    def do_generate_stream(self, prompt: str, parameters: dict[str, Any]) -> Any:
        return prompt.upper()
