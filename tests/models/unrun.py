"""Has hooks whose code does not run when they are called."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from typing import Any

from mistk_service import AbstractModel


class Unrun(AbstractModel):
    def do_train(self) -> Iterator[int]:  # type: ignore[override]  # the mistake
        yield 1

    def do_predict(self) -> Coroutine[Any, Any, None]:  # type: ignore[override]  # the mistake
        return self._predict()

    async def _predict(self) -> None:
        pass
