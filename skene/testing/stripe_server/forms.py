"""Reads the parameters that Stripe's clients send: forms whose keys say how they nest."""

import re
from collections.abc import Iterable
from typing import Any, cast
from urllib.parse import parse_qsl

from skene.testing.stripe_server.objects import Obj
from skene.testing.stripe_server.state import ApiFault

__all__ = ["flag", "known", "nested", "number", "string_map"]

_KEY = re.compile(r"\[([^\]]*)\]")


def nested(encoded: str) -> Obj:
    """Turns `items[0][price]=p&metadata[k]=v` into `{"items": [{"price": "p"}], "metadata": {"k": "v"}}`."""
    root: Obj = {}
    for key, value in parse_qsl(encoded, keep_blank_values=True):
        head, bracket, _ = key.partition("[")
        path = [head, *_KEY.findall(key[len(head) :])] if bracket else [key]
        node = root
        for step in path[:-1]:
            inner = node.setdefault(step or str(len(node)), {})
            if not isinstance(inner, dict):
                raise ApiFault(f"Invalid parameter: {key}", param=key)
            node = cast("Obj", inner)
        node[path[-1] or str(len(node))] = value
    return cast("Obj", _lists(root))


def _lists(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    entries = cast("Obj", node)
    values = {key: _lists(value) for key, value in entries.items()}
    if values and all(key.isdigit() for key in values):
        return [values[key] for key in sorted(values, key=int)]
    return values


def flag(params: Obj, name: str, default: bool = False) -> bool:
    """A parameter that is `true` or `false`."""
    value = params.get(name, "true" if default else "false")
    if value not in ("true", "false"):
        raise ApiFault(f"Invalid boolean: {value}", param=name)
    return bool(value == "true")


def number(params: Obj, name: str, default: int, within: range) -> int:
    """A parameter that is a whole number in a range."""
    value = params.get(name, str(default))
    if not isinstance(value, str) or not value.isdigit() or int(value) not in within:
        raise ApiFault(f"Invalid integer: {value}", code="parameter_invalid_integer", param=name)
    return int(value)


def string_map(params: Obj, name: str = "metadata") -> dict[str, str]:
    """Metadata: at most 50 keys of 40 characters with values of 500."""
    found = cast("dict[str, object]", params.get(name) or {})
    if not isinstance(params.get(name, {}), dict) and found:
        raise ApiFault(f"Invalid object: {name}", param=name)
    if len(found) > 50 or any(len(key) > 40 for key in found):
        raise ApiFault("Metadata can have up to 50 keys of up to 40 characters.", param=name)
    for key, entry in found.items():
        if not isinstance(entry, str) or len(entry) > 500:
            raise ApiFault("Metadata values can have up to 500 characters.", param=f"{name}[{key}]")
    return cast("dict[str, str]", found)


def known(params: Obj, allowed: Iterable[str]) -> None:
    """Refuses parameters that Stripe does not have, and `expand`, which this server does not do."""
    names = set(allowed) - {"expand"}
    for name in params:
        if name not in names:
            raise ApiFault(f"Received unknown parameter: {name}", code="parameter_unknown", param=name)
