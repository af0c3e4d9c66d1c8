"""The JSON Schema of a loop, so that editors complete and check what is written as JSON.

It is made from the definitions: their keys, types, defaults and docstrings. It never refuses what `load_loop`
takes. What only code can check (a cron expression that never comes, what fits together) is left to that.
"""

import inspect
import re
from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo

from skene.definitions.action import BlockAction, EmailAction
from skene.definitions.actions import GrantAction, WebhookAction
from skene.definitions.base import Definition
from skene.definitions.billed import Billed
from skene.definitions.condition import UsageCondition
from skene.definitions.conditions import (
    FIRING_CONDITIONS,
    AllCondition,
    AnyCondition,
    FunctionCondition,
    NotCondition,
    PlanCondition,
    QueryCondition,
    UsageLevelCondition,
)
from skene.definitions.loop import Loop
from skene.definitions.period import PERIODS
from skene.definitions.recovery import Recovery
from skene.definitions.step import Step, Wait
from skene.definitions.trigger import METHODS, ApiTrigger
from skene.definitions.triggers import (
    FIRING_TRIGGERS,
    DatabaseTrigger,
    EventTrigger,
)
from skene.definitions.units import LARGEST, format_duration

__all__ = ["loop_schema"]

Schema: TypeAlias = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_LARGEST_DOUBLE = 1.7976931348623157e308


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _whole(least: int, most: int = LARGEST) -> Schema:
    return {"type": "integer", "minimum": least, "maximum": most}


def _list(of: Schema, *, least: int = 1) -> Schema:
    return {"type": "array", "items": of, "minItems": least}


def _by_plan(limit: Schema) -> Schema:
    names = {"minLength": 1, "maxLength": 100}
    return {"type": "object", "minProperties": 1, "propertyNames": names, "additionalProperties": limit}


def _any_case(word: str) -> str:
    return "".join(f"[{letter.upper()}{letter.lower()}]" for letter in word)


_STRING: Schema = {"type": "string", "minLength": 1}
_DURATION: Schema = {
    "type": "string",
    "description": "A duration such as 30d or 1h30m: units w, d, h, m (minutes), s, in that order.",
    "pattern": "^" + "".join(f"([0-9]+{unit})?" for unit in "wdhms") + "$",
    "minLength": 2,
    "maxLength": 40,
    "examples": ["30d", "12h", "1h30m"],
}
_UNLIMITED: Schema = {
    "anyOf": [
        {"enum": ["Infinity", "unlimited"]},
        # A bare Infinity, which JavaScript writes and JSON does not have.
        {"type": "number", "exclusiveMinimum": _LARGEST_DOUBLE},
    ]
}
_UNITS: Schema = {"anyOf": [_whole(0), *_UNLIMITED["anyOf"]]}
_LIMIT: Schema = {
    "description": "Units per window; Infinity for no limit; billed where use goes on a bill.",
    "anyOf": [
        *_UNITS["anyOf"],
        {
            "type": "object",
            "properties": {"billed": _ref("Billed")},
            "required": ["billed"],
            "additionalProperties": False,
        },
    ],
}
_METHOD: Schema = {
    "anyOf": [
        {"enum": list(METHODS)},
        {"type": "string", "pattern": f"^({'|'.join(map(_any_case, METHODS))})$"},
    ]
}
_PLANS: Schema = {"anyOf": [_STRING, _list(_STRING)]}
_TEXTS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}

_SPECIAL: dict[tuple[type[Definition], str], Schema] = {
    (Loop, "steps"): _list(_ref("Step")),
    (Loop, "opinion"): {"type": "string", "maxLength": 2000},
    (Loop, "holdout"): {"type": "number", "minimum": 0, "exclusiveMaximum": 1},
    (Loop, "goal"): _ref("Goal"),
    (Step, "trigger"): _ref("Trigger"),
    (Step, "condition"): _ref("Condition"),
    (Step, "action"): {"if": {"type": "array"}, "then": _list(_ref("Action")), "else": _ref("Action")},
    (Step, "then"): {"anyOf": [_ref("Duration"), _ref("Wait")]},
    (Step, "max_fires"): _whole(1, 1_000_000),
    (Recovery, "retries"): _whole(0, 100),
    (ApiTrigger, "endpoint"): {"type": "string", "pattern": "^/", "maxLength": 1000},
    (ApiTrigger, "method"): {"anyOf": [*_METHOD["anyOf"], _list(_METHOD)]},
    (DatabaseTrigger, "where"): {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": {"type": ["string", "integer", "boolean", "null"]},
    },
    (UsageCondition, "limit"): _by_plan(_ref("Limit")),
    (UsageCondition, "period"): _ref("Period"),
    (UsageCondition, "cost"): _whole(1),
    (UsageCondition, "member_limit"): _by_plan(_UNITS),
    (UsageCondition, "lease"): _whole(2, 1_000_000),
    (UsageLevelCondition, "at"): {"type": "number", "exclusiveMinimum": 0},
    (UsageLevelCondition, "under"): {"type": "number", "exclusiveMinimum": 0},
    (PlanCondition, "plans"): _PLANS,
    (PlanCondition, "changed_from"): _PLANS,
    (PlanCondition, "changed_to"): _PLANS,
    (AllCondition, "conditions"): _list(_ref("FiringCondition"), least=2),
    (AnyCondition, "conditions"): _list(_ref("FiringCondition"), least=2),
    (NotCondition, "condition"): _ref("FiringCondition"),
    (QueryCondition, "max_rows"): _whole(1, 100_000_000),
    (Billed, "included"): _whole(0),
    (Billed, "cap"): _whole(0),
    (BlockAction, "message"): {"type": "string", "minLength": 1, "maxLength": 2000},
    (BlockAction, "status_code"): _whole(400, 499),
    (BlockAction, "notify_at"): {
        "type": "array",
        "items": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
    },
    (GrantAction, "units"): _whole(1),
    (GrantAction, "reason"): {"type": "string", "maxLength": 200},
}
"""Fields of which the type alone says too little."""

_NEVER_NULL = {(UsageCondition, "member_limit")}
"""Fields whose None is only how Python leaves them out."""


@cache
def _described(kind: type[Definition]) -> Mapping[str, str]:
    """What the docstring says of each attribute, and under "" of the whole."""
    text = inspect.getdoc(kind) or ""
    attributes = re.split(r"^(?:Attributes|Args):\n", text, maxsplit=1, flags=re.MULTILINE)[-1]
    found = re.findall(r"^    (\w+): (.+(?:\n {8}.+)*)", attributes, re.MULTILINE)
    told = {name: " ".join(words.split()) for name, words in found}
    return {"": text.partition("\n")[0], **told}


def _of_type(annotation: Any) -> Schema:
    """What the type of a field says by itself."""
    origin = get_origin(annotation)
    inner: list[Any] = list(get_args(annotation))
    if origin is Annotated:
        return _of_type(inner[0])
    if origin in (Union, UnionType):
        return _of_type(next(one for one in inner if one is not NoneType))
    if origin is Literal:
        return {"enum": inner} if len(inner) > 1 else {"const": inner[0]}
    if origin is tuple:
        return _list(_STRING)
    if origin is not None:
        return _TEXTS
    if annotation in (bool, timedelta, str):
        return {bool: {"type": "boolean"}, timedelta: _ref("Duration"), str: _STRING}[annotation]
    return _ref(annotation.__name__)


def _nullable(kind: type[Definition], name: str, field: FieldInfo) -> bool:
    return NoneType in get_args(field.annotation) and (kind, name) not in _NEVER_NULL


def _field(kind: type[Definition], name: str, field: FieldInfo) -> Schema:
    schema = _SPECIAL.get((kind, name)) or _of_type(field.annotation)
    if _nullable(kind, name, field):
        # Not anyOf: what is wrong deeper down is then shown there.
        schema = {"if": {"not": {"type": "null"}}, "then": schema}
    told: Schema = {"description": words} if (words := _described(kind).get(name)) else {}
    default = format_duration(field.default) if isinstance(field.default, timedelta) else field.default
    if isinstance(default, (bool, int, float, str)) and default != "" and name != "type":
        told["default"] = default
    return {**told, **schema}


def _object(kind: type[Definition], *, typed: bool = True) -> Schema:
    """A definition as an object.

    Args:
        kind: which.
        typed: its `type` has to be written, as where that tells it from others.
    """
    fields = kind.model_fields
    required = [to_camel(name) for name, field in fields.items() if field.is_required()]
    if typed and "type" in fields and "type" not in required:
        required.insert(0, "type")
    schemas = {name: _field(kind, name, field) for name, field in fields.items()}
    # Both spellings are read; editors offer the one that is dumped.
    snake = {f"^{name}$": schema for name, schema in schemas.items() if to_camel(name) != name}
    return {
        "description": _described(kind)[""],
        "type": "object",
        "properties": {to_camel(name): schema for name, schema in schemas.items()},
        **({"patternProperties": snake} if snake else {}),
        **({"required": required} if required else {}),
        "additionalProperties": False,
    }


def _type_of(kind: type[Definition]) -> str:
    return str(kind.model_fields["type"].default)


def _one_of(*kinds: type[Definition]) -> Schema:
    """An object whose `type` says which of some kinds it is; so the faults are of that kind."""
    return {
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"enum": [_type_of(kind) for kind in kinds]}},
        "allOf": [_if_type(_type_of(kind), kind) for kind in kinds],
    }


def _if_type(name: str, kind: type[Definition]) -> Schema:
    return {
        "if": {"properties": {"type": {"const": name}}, "required": ["type"]},
        "then": _ref(kind.__name__),
    }


def _conditions() -> tuple[Schema, Schema]:
    """Any condition, and any that is asked of a firing; usage is a level where there is no limit but at."""
    asked = tuple(kind for kind in FIRING_CONDITIONS if kind is not FunctionCondition)
    others = tuple(kind for kind in asked if kind is not UsageLevelCondition)
    either = _one_of(*others)
    either["properties"]["type"]["enum"].append("usage")
    level = {"anyOf": [{"required": ["at"]}, {"required": ["under"]}], "not": {"required": ["limit"]}}
    either["allOf"].append(
        {
            "if": {"properties": {"type": {"const": "usage"}}, "required": ["type"]},
            "then": {"if": level, "then": _ref("UsageLevelCondition"), "else": _ref("UsageCondition")},
        }
    )
    return either, _one_of(*asked)


def _parts() -> dict[str, Schema]:
    either, asked = _conditions()
    triggers = (ApiTrigger, *FIRING_TRIGGERS)
    actions = (BlockAction, EmailAction, WebhookAction, GrantAction)
    conditions = (UsageCondition, *(kind for kind in FIRING_CONDITIONS if kind is not FunctionCondition))
    kinds = (*triggers, *conditions, *actions, *PERIODS)
    return {
        "Duration": _DURATION,
        "Limit": _LIMIT,
        "Period": {"if": {"type": "object"}, "then": _one_of(*PERIODS), "else": _ref("Duration")},
        "Trigger": _one_of(*triggers),
        "Condition": either,
        "FiringCondition": asked,
        "Action": _one_of(*actions),
        "Goal": _one_of(EventTrigger, QueryCondition),
        "Step": _object(Step),
        "Recovery": _object(Recovery),
        "Wait": _object(Wait, typed=False),
        "Billed": _object(Billed),
        **{kind.__name__: _object(kind) for kind in kinds},
    }


def loop_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a loop as `load_loop` reads it, in camelCase or snake_case.

    Whatever it refuses, `load_loop` refuses; not the other way round: what fits together is not in it.
    """
    return {
        "$schema": DIALECT,
        "title": "A growth loop of skene",
        **_object(Loop),
        "$defs": _parts(),
    }
