"""Reads a body from outside as a JSON object that every database can keep."""

import json
import math
import re
from typing import NoReturn, cast

from pydantic import JsonValue

from skene.errors import WebhookRejected

__all__ = ["read_object"]

_DEEPEST = 64
_UNKEEPABLE = re.compile("[\x00\ud800-\udfff]")


def read_object(text: str) -> dict[str, JsonValue]:
    """The JSON object that a text holds.

    Raises:
        WebhookRejected: it is not JSON, not an object, nested too deeply, or holds what a database refuses:
            NUL, half a character, a number that is not finite.
    """
    try:
        # RecursionError: nested too deeply. ValueError: not JSON, or a number too long.
        value = cast("JsonValue", json.loads(text, parse_constant=_refuse, parse_float=_finite))
    except (ValueError, RecursionError):
        raise WebhookRejected("the body is not JSON") from None
    if not isinstance(value, dict):
        raise WebhookRejected("the body is not a JSON object")
    _check(value)
    return value


def _check(value: JsonValue) -> None:
    """Goes through a value level by level, so that its depth costs no stack."""
    level: list[JsonValue] = [value]
    for _ in range(_DEEPEST + 1):
        below: list[JsonValue] = []
        for one in level:
            if isinstance(one, dict):
                below += [*one, *one.values()]
            elif isinstance(one, list):
                below += one
            elif isinstance(one, str) and _UNKEEPABLE.search(one):
                raise WebhookRejected("the body holds a NUL or half a character")
        if not below:
            return
        level = below
    raise WebhookRejected(f"the body is nested more than {_DEEPEST} levels deep")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError
    return number


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)
