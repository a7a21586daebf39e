"""The base class of transform plugins."""

from __future__ import annotations

from typing import Any

from mistk_service.kinds.component import Component
from mistk_service.kinds.values import MistkDataset


class AbstractTransformPlugin(Component):
    """Makes a dataset from others, in the vocabulary of MISTK. Subclass it and write ``do_transform``.

    The container calls the hooks one at a time, on the main thread of the plugin's own process.

    A hook that raises :class:`~mistk_service.RequestError` refuses the request, and the previous state is restored. Any other
    exception makes the state ``failed``.
    """

    _mistk_kind = "mistk_service.kinds.transform:TRANSFORM"

    def do_transform(
        self,
        inputDirs: list[MistkDataset],  # noqa: N803 - MISTK's name
        outputDir: MistkDataset | None,  # noqa: N803 - MISTK's name
        properties: dict[str, Any],
    ) -> None:
        """Read the datasets ``inputDirs`` and write the dataset ``outputDir``.

        Args:
            inputDirs: the datasets to read; ``data_path`` is the file or folder of each.
            outputDir: the dataset to write; ``data_path`` is its folder. None if the request has none.
            properties: the settings of the request.
        """
        raise NotImplementedError
