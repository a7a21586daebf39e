"""Reads texts and prompts, in a format that is detected from the contents of the file if possible."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from dataclasses import dataclass
from pathlib import Path

from .errors import UnreadableText

__all__ = ["Prompt", "read_prompts", "read_text"]

_GZIP = b"\x1f\x8b"
_TEXT = (".txt", ".text", ".md", ".txt.gz", ".text.gz", ".md.gz")
_PROMPTS = (*_TEXT, ".jsonl", ".csv", ".jsonl.gz", ".csv.gz")


@dataclass(frozen=True)
class Prompt:
    """The beginning of a text, with a name."""

    id: str
    text: str


def read_text(path: str | Path, *, role: str = "") -> str:
    """Read a text in UTF-8, optionally gzipped; line endings become line feeds.

    Args:
        path: the file, or a folder with one text file.
        role: ``train`` or ``test``; in a folder with several files, the one with this name is used.

    Raises:
        UnreadableText: there is none, or it is not text.
    """
    file = _locate(Path(path), role, _TEXT)
    text = _read(file)
    if not text.strip():
        raise UnreadableText(f"{str(file)!r} is empty. Expected a text in UTF-8.")
    return text


def read_prompts(path: str | Path) -> list[Prompt]:
    r"""Read prompts.

    Args:
        path: a file, or a folder with one: ``.jsonl`` with an object with ``prompt`` and optionally ``id`` per line,
            ``.csv`` with a header with the column ``prompt`` and optionally ``id``, else a text with one prompt per line.

    Raises:
        UnreadableText: there are none; the message names the line.
    """
    file = _locate(Path(path), "generate", _PROMPTS)
    text, source = _read(file), repr(str(file))
    name = file.name.lower().removesuffix(".gz")
    if name.endswith(".jsonl"):
        found = _json_lines(text, source)
    elif name.endswith(".csv"):
        found = _csv_rows(text, source)
    else:
        found = [(None, line) for line in text.splitlines() if line.strip()]
    if not found:
        raise UnreadableText(f"{source} has no prompts. Expected one per line.")
    prompts = [Prompt(str(index) if key is None else key, prompt) for index, (key, prompt) in enumerate(found)]
    if any("\ud800" <= character <= "\udfff" for prompt in prompts for character in prompt.id + prompt.text):
        raise UnreadableText(f"{source} has half a surrogate pair, which is not a character.")
    if len({prompt.id for prompt in prompts}) < len(prompts):
        raise UnreadableText(f"{source} has the same id twice. Expected a different one for each prompt.")
    return prompts


def _json_lines(text: str, source: str) -> list[tuple[str | None, str]]:
    found: list[tuple[str | None, str]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            raise UnreadableText(f"{source}, line {number}: it is not JSON ({error}).") from error
        if not isinstance(value, dict) or not isinstance(value.get("prompt"), str):
            raise UnreadableText(f'{source}, line {number}: expected an object like {{"id": "a", "prompt": "Once "}}.')
        found.append((str(value["id"]) if "id" in value else None, value["prompt"]))
    return found


def _csv_rows(text: str, source: str) -> list[tuple[str | None, str]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    if "prompt" not in (reader.fieldnames or ()):
        raise UnreadableText(f"{source}: the header has {reader.fieldnames or 'nothing'}, but no column prompt.")
    try:
        rows = list(reader)
    except csv.Error as error:
        raise UnreadableText(f"{source}, line {reader.line_num}: {error}.") from error
    return [(row.get("id"), row["prompt"] or "") for row in rows]


def _locate(path: Path, role: str, suffixes: tuple[str, ...]) -> Path:
    try:
        if path.is_file():
            return path
        if not path.is_dir():
            raise UnreadableText(f"There is no file or folder {str(path)!r}. Expected a text file in UTF-8.")
        names = sorted(entry.name for entry in path.iterdir() if entry.is_file() and not entry.name.startswith("."))
    except (OSError, ValueError) as error:
        raise UnreadableText(f"{str(path)!r} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    found = [n for n in names if n.lower().endswith(suffixes) and n.upper() not in {"README.MD", "SOURCE.MD"}]
    called = [name for name in found if role and name.lower().split(".")[0] == role]
    if len(called or found) == 1:
        return path / (called or found)[0]
    what = f"several texts ({', '.join(found[:5])}{', ...' if len(found) > 5 else ''})" if found else "no text"
    raise UnreadableText(
        f"The folder {str(path)!r} holds {what}. Expected one file that ends in {', '.join(suffixes[:3])}, or one that is "
        f"called {role}; or give the path of the file."
    )


def _read(file: Path) -> str:
    source = repr(str(file))
    try:
        content = file.read_bytes()
        if content.startswith(_GZIP):
            content = gzip.decompress(content)
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UnreadableText(f"{source} is damaged gzip: {error}.") from error
    except OSError as error:
        raise UnreadableText(f"{source} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise UnreadableText(
            f"{source} is not text in UTF-8: byte {error.start} is {error.object[error.start]:#04x}. Convert it, for "
            "example with iconv."
        ) from error
