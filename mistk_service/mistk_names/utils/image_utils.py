"""``mistk.utils.image_utils``: images as text."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

__all__ = ["dict_from_images", "encode_image"]


def encode_image(image_path: str) -> str:
    """Return the contents of a file in base64."""
    return base64.b64encode(Path(image_path).read_bytes()).decode("ascii")


def dict_from_images(image_dir: str, valid_exts: Sequence[str] = (".jpeg", ".jpg", ".png")) -> dict[str, str]:
    """Return the images of a folder in base64, by their names without the suffix.

    Args:
        image_dir: the folder.
        valid_exts: the suffixes of images, in lower case.
    """
    files = sorted(each for each in Path(image_dir).iterdir() if each.suffix.lower() in valid_exts)
    return {file.stem: encode_image(str(file)) for file in files}
