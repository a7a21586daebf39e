"""The keys and comparators of each kind of search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mistk_service.tracking.filters._syntax import Comparator, Entity

_C = Comparator
_EQUAL = frozenset({_C.EQ, _C.NE})
_LIKE = _EQUAL | {_C.LIKE, _C.ILIKE}
_MEMBER = _LIKE | {_C.IN, _C.NOT_IN}
_NUMERIC = _EQUAL | {_C.LT, _C.LE, _C.GT, _C.GE}
_KEYED = _LIKE | {_C.IS_NULL, _C.IS_NOT_NULL}

_ATTRIBUTE_PREFIXES = dict.fromkeys(("attribute", "attributes", "attr"), Entity.ATTRIBUTE)
_TAG_PREFIXES = dict.fromkeys(("tag", "tags"), Entity.TAG)
_METRIC_PREFIXES = dict.fromkeys(("metric", "metrics"), Entity.METRIC)
_PARAM_PREFIXES = dict.fromkeys(("param", "params", "parameter", "parameters"), Entity.PARAM)


@dataclass(frozen=True)
class Grammar:
    """The keys of one kind of search.

    Attributes:
        thing: the items that are searched for, in the plural, for messages.
        prefixes: the prefixes before a dot, and what they stand for.
        attributes: the comparators that each attribute allows, by canonical name.
        numbers: the attributes that are numbers; the others are text.
        quoted_numbers: those of the numbers that may stand in quotes.
        keyed: the comparators that each of the kinds with free keys allows.
        datasets: the comparators that each field of a dataset allows.
        aliases: other names of attributes, in filters.
        order: the attributes that results can be ordered by, by every name that may be used, and the canonical one.
        order_entities: the kinds with free keys that results can be ordered by.
    """

    thing: str
    prefixes: Mapping[str, Entity]
    attributes: Mapping[str, frozenset[Comparator]]
    numbers: frozenset[str]
    order: Mapping[str, str]
    quoted_numbers: frozenset[str] = frozenset()
    keyed: Mapping[Entity, frozenset[Comparator]] = field(default_factory=dict)
    datasets: Mapping[str, frozenset[Comparator]] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    order_entities: frozenset[Entity] = frozenset()

    def is_number(self, entity: Entity, key: str) -> bool:
        """Return whether a key is compared with a number, and not with text."""
        return entity is Entity.METRIC or (entity is Entity.ATTRIBUTE and key in self.numbers)


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


RUNS = Grammar(
    thing="runs",
    prefixes={
        **_ATTRIBUTE_PREFIXES,
        "run": Entity.ATTRIBUTE,
        **_METRIC_PREFIXES,
        **_PARAM_PREFIXES,
        **_TAG_PREFIXES,
        **dict.fromkeys(("dataset", "datasets"), Entity.DATASET),
    },
    attributes={
        **dict.fromkeys(("run_id", "run_name", "status", "user_id", "artifact_uri"), _MEMBER),
        **dict.fromkeys(("start_time", "end_time"), _NUMERIC),
    },
    numbers=frozenset({"start_time", "end_time"}),
    keyed={Entity.METRIC: _NUMERIC, Entity.PARAM: _KEYED, Entity.TAG: _KEYED},
    datasets=dict.fromkeys(("name", "digest", "context"), _MEMBER),
    aliases={
        "created": "start_time",
        "Created": "start_time",
        "run name": "run_name",
        "Run name": "run_name",
        "Run Name": "run_name",
    },
    order={
        **_same("run_id", "run_name", "status", "user_id", "artifact_uri", "start_time", "end_time"),
        "created": "start_time",
        "Created": "start_time",
    },
    order_entities=frozenset({Entity.METRIC, Entity.PARAM, Entity.TAG}),
)

EXPERIMENTS = Grammar(
    thing="experiments",
    prefixes={**_ATTRIBUTE_PREFIXES, **_TAG_PREFIXES},
    attributes={
        "name": _LIKE,
        "experiment_id": _MEMBER,
        **dict.fromkeys(("creation_time", "last_update_time"), _NUMERIC),
    },
    numbers=frozenset({"creation_time", "last_update_time"}),
    keyed={Entity.TAG: _KEYED},
    order=_same("name", "experiment_id", "creation_time", "last_update_time"),
)

REGISTERED_MODELS = Grammar(
    thing="registered models",
    prefixes={**_ATTRIBUTE_PREFIXES, **_TAG_PREFIXES},
    attributes={"name": _MEMBER},
    numbers=frozenset(),
    keyed={Entity.TAG: _KEYED},
    order={**_same("name", "last_updated_timestamp"), "timestamp": "last_updated_timestamp"},
)

MODEL_VERSIONS = Grammar(
    thing="model versions",
    prefixes={**_ATTRIBUTE_PREFIXES, **_TAG_PREFIXES},
    attributes={
        **dict.fromkeys(("name", "run_id"), _MEMBER),
        "source_path": _LIKE,
        "version_number": _NUMERIC,
    },
    numbers=frozenset({"version_number"}),
    quoted_numbers=frozenset({"version_number"}),
    keyed={Entity.TAG: _KEYED},
    order=_same("name", "version_number", "creation_timestamp", "last_updated_timestamp"),
)

_MODEL_NAMES = {
    "artifact_location": "artifact_uri",
    "creation_time": "creation_timestamp",
    "creation_timestamp_ms": "creation_timestamp",
    "last_updated_time": "last_updated_timestamp",
    "last_updated_timestamp_ms": "last_updated_timestamp",
}
_MODEL_TEXTS = (
    "name",
    "model_id",
    "model_type",
    "status",
    "source_run_id",
    "artifact_uri",
    "experiment_id",
    "lifecycle_stage",
    "status_message",
)

LOGGED_MODELS = Grammar(
    thing="logged models",
    prefixes={**_ATTRIBUTE_PREFIXES, **_METRIC_PREFIXES, **_PARAM_PREFIXES, **_TAG_PREFIXES},
    attributes={
        **dict.fromkeys(_MODEL_TEXTS, _MEMBER),
        **dict.fromkeys(("creation_timestamp", "last_updated_timestamp"), _NUMERIC),
    },
    numbers=frozenset({"creation_timestamp", "last_updated_timestamp"}),
    keyed={Entity.METRIC: _NUMERIC, Entity.PARAM: _KEYED | _MEMBER, Entity.TAG: _KEYED | _MEMBER},
    aliases=_MODEL_NAMES,
    order={**_same(*_MODEL_TEXTS, "creation_timestamp", "last_updated_timestamp"), **_MODEL_NAMES},
    order_entities=frozenset({Entity.METRIC, Entity.PARAM, Entity.TAG}),
)
