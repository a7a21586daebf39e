"""The hooks of the model, which use the other modules."""

from __future__ import annotations

import base64
import binascii
import hashlib
import itertools
import json
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mistk_service import AbstractModel, MistkDataset, RequestError

from .checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from .errors import BadCheckpoint, BadRecord, NotReady, UnreadableText
from .files import write_atomically
from .language import Language
from .ngrams import NgramCounts
from .reader import Prompt, read_prompts, read_text
from .settings import CountSettings, WriteSettings, split

__all__ = ["TextGenerator"]

#: Characters written between two pause points.
_CHUNK = 64


@dataclass(frozen=True)
class _Generation:
    """A text that was generated; its fields are those of the file."""

    id: str
    prompt: str
    text: str
    temperature: float
    seed: int


class TextGenerator(AbstractModel):
    """Writes text in the style of a book, from the counts of its n-grams.

    Training reads the book in chunks. An interruption does not change the result: each chunk is counted once.
    """

    record_encoding = "base64"

    def __init__(self) -> None:
        self._given: dict[str, Any] = {}
        self._counting = CountSettings()
        self._writing = WriteSettings()
        self._stream_writing = WriteSettings()
        self._texts: dict[str, str] = {}
        self._prompts: list[Prompt] | None = None
        self._language: Language | None = None
        self._read: dict[str, int] = {}
        self._bits: float | None = None
        self._generations: list[_Generation] | None = None

    # --- hooks ------------------------------------------------------------------------------------------------------

    def do_initialize(self, objectives: list[str], props: dict[str, Any], hparams: dict[str, Any]) -> None:
        """Set :class:`CountSettings` from the hyperparameters, and :class:`WriteSettings` from hyperparameters or properties.

        Raises:
            BadSetting: a name is unknown or a value out of bounds.
            RequestError: an objective is prediction.
        """
        if "prediction" in objectives:
            raise RequestError(
                "This model generates text and does not predict for a test set; leave out prediction.",
                field="objectives",
            )
        counting, writing = split(hparams, props)
        self._counting, self._writing = CountSettings().updated(counting), WriteSettings().updated(writing)
        self._stream_writing = self._writing
        self._given = counting

    def do_load_data(self, dataset_map: dict[str, MistkDataset]) -> None:
        """Read the texts ``train`` and ``test`` and the prompts ``generate``; others stay loaded.

        Raises:
            UnreadableText: one cannot be read, or has other contents.
        """
        texts, prompts = {}, self._prompts
        for role, dataset in dataset_map.items():
            if role not in {"train", "test", "generate"} or not dataset.data_path:
                problem = "has no dataPath" if role in {"train", "test", "generate"} else "is not used by this model"
                raise UnreadableText(
                    f"The dataset {role!r} {problem}; expected train, test or generate with a dataPath."
                )
            if role == "generate":
                prompts = read_prompts(dataset.data_path)
            else:
                texts[role] = read_text(dataset.data_path, role=role)
        self._texts |= texts
        self._prompts = prompts
        self._show()

    def do_build_model(self, path: str | None = None) -> None:
        """Create an untrained model, or load the one in the folder ``path``.

        Raises:
            BadCheckpoint: ``path`` has none, or it does not match ``initialize``.
        """
        if path:
            self._take(load_checkpoint(path), path)
        else:
            self._language, self._read = Language("", NgramCounts(self._counting.order)), {}
        self._generations, self._bits = None, None
        self.report_params(self._counting.to_dict() | self._writing.to_dict())
        self._show()

    def do_train(self) -> None:
        """Read the unread part of the text ``train``, and report after every chunk how well the rest is predicted.

        A text that was read completely is not counted again.

        Raises:
            NotReady: there is no dataset ``train``.
            UnreadableText: the text has more different characters than this model supports.
        """
        language, text = self._built(), self._loaded("train")
        held_out = self._texts.get("test")
        stop = len(text) if held_out is not None else round(len(text) * (1 - self._counting.held_out))
        measured = text[stop:] if held_out is None else held_out
        language.learn_alphabet(text[:stop])
        codes = language.encode(text)
        key = hashlib.sha256(text.encode()).hexdigest()
        start, size = self._read.get(key, 0), self._counting.chunk
        if start >= stop:
            self._measure(measured)
        for begin in self.steps(range(start, stop, size), "chunks", initial=-(-start // size)):
            end = min(begin + size, stop)
            language.counts.add(codes, begin, end)
            self._read[key] = end
            self._measure(measured)

    def do_save_model(self, path: str) -> None:
        """Write the model to the folder ``path``, as one file.

        Raises:
            CannotWrite: the folder cannot be created or written to.
        """
        save_checkpoint(path, Checkpoint(self._built(), self._counting, self._read))

    def do_generate(self) -> None:
        """Write ``samples`` texts for each prompt: those of the dataset ``generate``, or the one of the settings.

        Raises:
            NotReady: the model is not trained.
        """
        settings = self._writing
        prompts = self._prompts if self._prompts is not None else [Prompt("0", settings.prompt)]
        wanted = list(itertools.product(prompts, range(settings.samples)))
        generations = []
        for prompt, sample in self.steps(wanted, "texts"):
            identifier = f"{prompt.id}-{sample}" if settings.samples > 1 else prompt.id
            text = self._continue(prompt.text, f"{prompt.id}/{sample}", settings)
            generations.append(_Generation(identifier, prompt.text, text, settings.temperature, settings.seed))
        self._generations = generations
        self._show()

    def do_save_generations(self, dataPath: str) -> None:  # noqa: N803 - MISTK's name
        """Write ``generations.jsonl`` for programs and ``generations.txt`` for readers to the folder ``dataPath``.

        Raises:
            NotReady: nothing was generated since the model was built.
            CannotWrite: the folder cannot be created or written to.
        """
        if self._generations is None:
            raise NotReady("There are no generations to save: call generate first.")
        lines = "".join(json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in self._generations)
        pages = "\n".join(f"=== {one.id} ===\n\n{one.prompt}{one.text}\n" for one in self._generations)
        write_atomically(dataPath, "generations.jsonl", lines.encode())
        write_atomically(dataPath, "generations.txt", pages.encode())

    def do_generate_stream(self, prompt: str, parameters: dict[str, Any]) -> Iterator[str]:
        """Continue a prompt, one character at a time.

        Args:
            prompt: the text; if it is empty, the prompt of the settings is used.
            parameters: ``max_tokens``, ``temperature`` and ``seed`` take precedence over the settings; others are ignored.

        Raises:
            BadSetting: one of them is out of bounds.
            NotReady: the model is not trained.
        """
        names = {"max_tokens": "length", "temperature": "temperature", "seed": "seed"}
        given = {names[name]: value for name, value in parameters.items() if name in names}
        settings = self._stream_writing.updated(given)
        yield from itertools.islice(self._characters(prompt or settings.prompt, "0", settings), settings.length)

    def do_update_stream_properties(self, props: dict[str, Any]) -> None:
        """Set properties for later stream predictions; those that are not named do not change.

        Raises:
            BadSetting: a name is unknown or a value out of bounds; nothing has changed then.
        """
        self._stream_writing = self._stream_writing.updated(props)
        self._show()

    def do_stream_predict(self, data_map: dict[str, str], details: bool = False) -> dict[str, Any]:
        """Continue the prompts of a request.

        Args:
            data_map: identifier → the prompt, UTF-8 in base64; if it is empty, the prompt of the settings is used.
            details: whether to add ``explanation``, the likeliest first characters, in Markdown.

        Returns:
            identifier → ``{"prompt": text, "text": what comes after it}``. It only depends on identifier, prompt and settings.

        Raises:
            BadRecord: a prompt is not text.
            NotReady: the model is not trained.
        """
        settings = self._stream_writing
        answers: dict[str, Any] = {}
        for identifier, prompt in {key: _decode(key, value) for key, value in data_map.items()}.items():
            begin = prompt or settings.prompt
            answers[identifier] = {"prompt": begin, "text": self._continue(begin, identifier, settings)}
            if details:
                answers[identifier]["explanation"] = self._explain(begin)
        return answers

    # --- what they share --------------------------------------------------------------------------------------------

    def _take(self, checkpoint: Checkpoint, path: str) -> None:
        settings = checkpoint.settings.updated(self._given)
        if settings.order != checkpoint.settings.order:
            raise BadCheckpoint(
                f"The checkpoint at {path!r} has n-grams up to order={checkpoint.settings.order}, which cannot become "
                f"{settings.order}: leave order out of the hyperparameters, or build without a checkpoint."
            )
        self._counting, self._language, self._read = settings, checkpoint.language, dict(checkpoint.read)

    def _built(self) -> Language:
        if self._language is None:
            raise NotReady("There is no model yet: call buildModel first.")
        return self._language

    def _loaded(self, role: str) -> str:
        if role not in self._texts:
            raise NotReady(f"There is no dataset {role!r} yet: call loadData with it first.")
        return self._texts[role]

    def _measure(self, held_out: str) -> None:
        if held_out:
            self._bits = self._built().bits_per_character(held_out, self._counting.discount)
            self.report_metrics({"bits_per_character": self._bits}, step=self._built().counts.characters)
        self._show()

    def _continue(self, prompt: str, name: str, settings: WriteSettings) -> str:
        """Return the continuation of ``prompt``; ``name`` is a part of the random seed."""
        written = self._characters(prompt, name, settings)
        parts = []
        for start in range(0, settings.length, _CHUNK):
            self.pause_point()
            parts.append("".join(itertools.islice(written, min(_CHUNK, settings.length - start))))
        return "".join(parts)

    def _characters(self, prompt: str, name: str, settings: WriteSettings) -> Iterator[str]:
        """Yield the characters of the continuation of ``prompt``, without an end."""
        language = self._built()
        if not language.counts.characters:
            raise NotReady("The model is not trained: call train, or build it from a checkpoint.")
        rng = np.random.Generator(np.random.PCG64([settings.seed, zlib.crc32(name.encode("utf-8", "surrogatepass"))]))
        return language.write(prompt, discount=self._counting.discount, temperature=settings.temperature, rng=rng)

    def _explain(self, prompt: str) -> str:
        language = self._built()
        chances = language.following(prompt, self._counting.discount)
        rows = [f"| {json.dumps(language.alphabet[i])} | {chances[i]:.4f} |" for i in np.argsort(-chances)[:8]]
        known = prompt[-(language.counts.order - 1) :] if language.counts.order > 1 else ""
        table = "\n".join(rows)
        return f"After {json.dumps(known, ensure_ascii=False)} comes\n\n| character | probability |\n| --- | ---: |\n{table}\n"

    def _show(self) -> None:
        status: dict[str, Any] = {"texts": {role: len(text) for role, text in self._texts.items()}}
        if self._prompts is not None:
            status["prompts"] = len(self._prompts)
        if self._language is not None:
            status |= {
                "characters_read": self._language.counts.characters,
                "alphabet": len(self._language.alphabet),
                "ngrams": self._language.counts.size,
            }
        if self._bits is not None:
            status["bits_per_character"] = self._bits
        if self._generations is not None:
            status["generations"] = len(self._generations)
        self.update_status(status | {"stream_properties": self._stream_writing.to_dict()})


def _decode(identifier: str, text: str) -> str:
    try:
        return base64.b64decode("".join(text.split()), validate=True).decode("utf-8")
    except (binascii.Error, ValueError, AttributeError) as error:
        raise BadRecord(
            f"The record {identifier!r} is not a prompt: {error}. Expected a text in UTF-8, in base64.",
            identifier=identifier,
        ) from error
