"""Resolves a reference such as ``package.module:Class`` to the model class. Runs in the worker, like the model's code."""

from __future__ import annotations

import importlib
import inspect
import logging
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, TypeGuard

from mistk_service.errors import (
    BadModelReference,
    InvalidRequest,
    ModelClassNotFound,
    ModelConstructionFailed,
    ModelModuleFailed,
    ModelModuleNotFound,
    NotAModelClass,
)
from mistk_service.kinds import KINDS, kind_of
from mistk_service.kinds.component import Component
from mistk_service.logs import encodable
from mistk_service.workers.child.declared import hyperparameters_of, signature_of
from mistk_service.workers.child.failures import message_of
from mistk_service.workers.child.mistk_names import install

logger = logging.getLogger(__name__)

#: The base classes, for messages.
_BASES = " or ".join(KINDS)

#: The similarity, from 0 to 1, from which a name is taken for a misspelled one.
_SIMILAR = 0.85

_FORMS = "'package.module:Class', 'path/to/file.py:Class' or 'package.module Class'"


def split_reference(reference: str) -> tuple[str, str]:
    """Return the module (a dotted name, or a path that ends in ``.py``) and the class that ``reference`` names.

    Raises:
        BadModelReference: the reference has none of the supported forms.
    """
    text = reference.strip()
    module, separator, name = text.rpartition(":")
    if not separator:
        module, _, name = text.rpartition(" ")
    module, name = module.strip(), name.strip()
    if not module or not name.isidentifier():
        raise BadModelReference(f"{reference!r} does not name a model class; expected {_FORMS}.")
    if not module.endswith(".py") and not all(part.isidentifier() for part in module.split(".")):
        raise BadModelReference(
            f"{reference!r}: {module!r} is neither a module's dotted name nor a path that ends in .py; expected {_FORMS}."
        )
    if encodable(module) != module:
        # It would be in metrics, runs and answers.
        raise BadModelReference(f"{reference!r}: the path is not valid UTF-8; rename the folder.")
    return module, name


def load_model_class(reference: str, *, mistk_names: bool = True) -> type[Component]:
    """Import the module that ``reference`` names and return the model class.

    Args:
        reference: the reference.
        mistk_names: whether to offer MISTK's names to the module if MISTK is not installed.

    Raises:
        ModelLoadError: a step failed; the subclass and the message say which one.
    """
    module_name, class_name = split_reference(reference)
    if mistk_names:
        install()
    search_path = Path.cwd()
    if module_name.endswith(".py"):
        file = Path(module_name).expanduser().resolve()
        search_path, module_name = _locate_file(file, reference)
    else:
        file = None
    if str(search_path) not in sys.path:
        sys.path.insert(0, str(search_path))
    module = _import(module_name, reference)
    if file is not None:
        _require_from(file, module, reference)
    return _find_class(module, class_name, reference)


def construct_model(model_class: type[Component], reference: str) -> Component:
    """Return an instance of the class.

    Raises:
        ModelConstructionFailed: the constructor raised an exception.
        NotAModelClass: a hook is not a method, or ``max_batch_size``, ``inputs`` or ``outputs`` is not usable.
    """
    try:
        model = model_class()
    except (Exception, SystemExit) as error:
        raise ModelConstructionFailed(
            f"{reference!r}: the constructor of {model_class.__name__} raised {_describe(error)}.",
            traceback=traceback.format_exc(),
        ) from error
    _require_usable(model, reference)
    _warn_of_misspelled_hooks(model_class)
    _warn_of_unused_hyperparameters(model)
    return model


def _require_usable(model: Component, reference: str) -> None:
    kind = kind_of(type(model))
    for name in sorted(kind.hooks):
        if not callable(getattr(model, name)):
            raise NotAModelClass(f"{reference!r}: {name} is {getattr(model, name)!r}; expected a method.")
    most = getattr(model, "max_batch_size", 1)
    try:
        int(most)
    except (TypeError, ValueError, OverflowError) as error:
        raise NotAModelClass(
            f"{reference!r}: max_batch_size is {most!r}; expected a whole number of records."
        ) from error
    try:
        signature_of(model)
        kind.documents_of(type(model))
    except (TypeError, InvalidRequest) as error:
        raise NotAModelClass(f"{reference!r}: {str(error).removesuffix('.')}.") from error


def _warn_of_misspelled_hooks(model_class: type[Component]) -> None:
    """Warn about methods that nobody calls because their names differ from that of a hook by a typing error."""
    kind = kind_of(model_class)
    missing = [hook for hook in kind.hooks if not kind.overrides(model_class, hook)]
    for name in (each for each in dir(model_class) if each.startswith("do_") and not hasattr(kind.base, each)):
        import difflib  # late, since hardly any class has such a method

        if near := difflib.get_close_matches(name, missing, n=1, cutoff=_SIMILAR):
            logger.warning("%s.%s is not a hook; did you mean %s?", model_class.__name__, name, near[0])


def _warn_of_unused_hyperparameters(model: Component) -> None:
    """Warn about an attribute that declares nothing. It is not an error, since models of MISTK may use the name otherwise."""
    declared = getattr(type(model), "hyperparameters", None)
    if hyperparameters_of(model) is None and isinstance(declared, Mapping | type):
        shown = declared.__name__ if isinstance(declared, type) else f"a {type(declared).__name__}"
        logger.warning(
            "%s.hyperparameters is %s, which declares nothing; expected a msgspec struct or a dataclass.",
            type(model).__name__,
            shown,
        )


def _locate_file(file: Path, reference: str) -> tuple[Path, str]:
    """Return the folder to search and the dotted name for a file. A file of a package gets the package's name as a prefix."""
    if not file.is_file():
        raise ModelModuleNotFound(
            f"{reference!r}: there is no file {file}. Give the path of the model's Python file, absolute or relative to "
            f"{Path.cwd()}."
        )
    folder = import_folder(file)
    parts = file.relative_to(folder).with_suffix("").parts
    for part in parts:
        if "." in part:
            raise BadModelReference(
                f"{reference!r}: {part!r} cannot be imported, because a dot in a module's name separates package and module. "
                "Rename it."
            )
    return folder, ".".join(parts)


def import_folder(file: Path) -> Path:
    """Return the folder from which a file, or the package that it belongs to, is imported."""
    folder = file.parent
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    return folder


def _require_from(file: Path, module: ModuleType, reference: str) -> None:
    """Raise an error if the module is not the named file, because another module has the same name."""
    found = getattr(module, "__file__", None)
    if found is None or Path(found).resolve() != file:
        raise ModelModuleNotFound(
            f"{reference!r}: importing {module.__name__!r} gave {found or 'a module without a file'} and not {file}, because "
            "that name is taken. Rename the file."
        )


def _import(name: str, reference: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
            raise ModelModuleNotFound(
                f"{reference!r}: there is no module {error.name!r}. Install it, or start in the folder that holds it "
                f"(now {Path.cwd()}), or give the path of the file."
            ) from error
        raise ModelModuleFailed(
            f"{reference!r}: importing the module {name} raised {_describe(error)}.",
            traceback=traceback.format_exc(),
        ) from error


def _find_class(module: ModuleType, name: str, reference: str) -> type[Component]:
    try:
        found = getattr(module, name)
    except AttributeError as error:
        models = [n for n, value in vars(module).items() if _is_model_class(value)]
        hint = f" It has {', '.join(models)}." if models else f" It has no subclass of {_BASES} at all."
        raise ModelClassNotFound(f"{reference!r}: the module {module.__name__} has no {name!r}.{hint}") from error
    if not _is_model_class(found):
        what = f"{found.__name__} itself" if _is_component(found) else f"{found!r}"
        raise NotAModelClass(f"{reference!r} is {what}; expected a subclass of mistk_service.{_BASES}.")
    if inspect.isabstract(found):
        missing = ", ".join(sorted(getattr(found, "__abstractmethods__", ())))
        raise NotAModelClass(
            f"{reference!r} cannot be instantiated: it does not implement these abstract methods: {missing}."
        )
    model_class: type[Component] = found
    return model_class


def _is_model_class(value: Any) -> TypeGuard[type[Component]]:
    return _is_component(value) and kind_of(value).base is not value


def _is_component(value: Any) -> TypeGuard[type[Component]]:
    """Return whether a value is the base class of a kind, or a subclass of one."""
    return isinstance(value, type) and issubclass(value, Component) and hasattr(value, "_mistk_kind")


def _describe(error: BaseException) -> str:
    text = message_of(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
