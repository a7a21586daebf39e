"""Has hooks that are coroutines, and answers in parts with an asynchronous generator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from mistk_service import AbstractModel, RequestError


class Asynchronous(AbstractModel):
    async def do_initialize(self, objectives: list[str], props: dict[str, Any], hparams: dict[str, Any]) -> None:  # type: ignore[override]
        if "wrong" in hparams:
            raise RequestError("told to refuse")
        if "cancelled" in hparams:
            task = asyncio.ensure_future(asyncio.sleep(60))
            task.cancel()
            await task

    async def do_build_model(self, path: str | None = None) -> None:  # type: ignore[override]
        self._loop = asyncio.get_running_loop()
        self._arrived = asyncio.Queue[int]()

    async def do_train(self) -> None:  # type: ignore[override]
        # What one hook opens can be used by the next.
        assert asyncio.get_running_loop() is self._loop
        for number in self.steps(range(1_000_000)):
            await self._arrived.put(number)
            await asyncio.sleep(0.001)

    async def do_save_model(self, path: str) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        (Path(path) / "model.txt").write_text("saved")

    async def do_infer(self, inputs: dict[str, Any]) -> dict[str, Any]:  # type: ignore[override]
        await asyncio.sleep(0)
        return inputs

    async def do_stream_predict(self, data_map: dict[str, str], details: bool = False) -> AsyncIterator[Any]:  # type: ignore[override]
        try:
            for number in range(int(data_map["n"])):
                await asyncio.sleep(0)
                if number == int(data_map.get("raise_at", -1)):
                    raise ValueError("told to raise")
                yield {"part": number, "details": details}
        finally:
            await asyncio.sleep(0)
            self.update_status({"closed": True})


class Whole(AbstractModel):
    """Answers at once, so that requests are merged."""

    max_batch_size = 8

    async def do_stream_predict(self, data_map: dict[str, str]) -> dict[str, Any]:  # type: ignore[override]
        await asyncio.sleep(0)
        return {key: value.upper() for key, value in data_map.items()}
