"""A request that a route accepts, made up from its signature: for a test that is refused before it runs."""

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from skene.cli.init.apps import Route, dependencies_of
from skene.cli.init.callers import Caller
from skene.cli.init.source import Module, Source

__all__ = ["Sample", "find_sample"]

_PLAIN: dict[str, Any] = {"str": "text", "int": 1, "float": 1.5, "bool": True, "EmailStr": "ada@example.com"}
_GIVEN = frozenset(("Request", "Response", "BackgroundTasks", "WebSocket", "HTTPConnection"))
_DEEPEST = 4


@dataclass(frozen=True, slots=True)
class Sample:
    """A request.

    Attributes:
        method, path: with parameters and query filled in.
        json: the body; None for none.
    """

    method: str
    path: str
    json: Any


class _Unknown(Exception):
    """Something that cannot be made up."""


def find_sample(source: Source, routes: Sequence[Route], caller: Caller | None) -> Sample | None:
    """A request to the first route for which one can be made up; None if there is no such route."""
    for route in routes:
        try:
            return _sample(source, route, caller)
        except _Unknown:
            continue
    return None


def _sample(source: Source, route: Route, caller: Caller | None) -> Sample:
    node, module = route.function, route.module
    if node is None or not _needs_nothing(source, route.depends, caller):
        raise _Unknown
    arguments = [*node.args.posonlyargs, *node.args.args]
    with_default = {one.arg for one in arguments[len(arguments) - len(node.args.defaults) :]}
    with_default |= {a.arg for a, d in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True) if d}
    path, query, body = route.path, dict[str, Any](), list[Any]()
    for one in [*arguments, *node.args.kwonlyargs]:
        kind = ast.unparse(one.annotation).strip("'\"") if one.annotation is not None else "str"
        place = re.search(rf"\{{{one.arg}(:\w+)?\}}", path)
        if place:
            path = path.replace(place.group(), _segment(kind))
        elif (
            one.arg in with_default
            or kind.rpartition(".")[2] in _GIVEN
            or (one.annotation is not None and dependencies_of(source, module, one.annotation))
        ):
            continue
        elif kind in _PLAIN:
            query[one.arg] = _PLAIN[kind]
        else:
            body.append(_value(source, module, kind, 0))
    if len(body) > 1 or "{" in path:
        raise _Unknown
    asked = "&".join(f"{name}={value}" for name, value in query.items())
    return Sample(route.method, f"{path}?{asked}" if asked else path, body[0] if body else None)


def _needs_nothing(source: Source, depends: frozenset[str], caller: Caller | None) -> bool:
    """Whether only the sign-in, which a test replaces, and sessions, which wait, run before the gate."""
    for dotted in depends:
        found = source.definition(dotted)
        is_caller = caller is not None and dotted == f"{caller.module}.{caller.name}"
        opens = found is not None and any(isinstance(one, ast.Yield) for one in ast.walk(found[2]))
        if not is_caller and not opens:
            return False
    return True


def _segment(kind: str) -> str:
    if kind in ("int", "str"):
        return "1"
    if kind.endswith("UUID"):
        return "00000000-0000-4000-8000-000000000001"
    raise _Unknown


def _value(source: Source, module: Module, kind: str, depth: int) -> Any:
    if kind in _PLAIN:
        return _PLAIN[kind]
    if kind.startswith(("list[", "List[", "set[", "Sequence[")):
        return []
    if kind.startswith(("dict[", "Dict[", "Mapping[")) or kind == "dict":
        return {}
    if not re.fullmatch(r"[\w.]+", kind) or depth > _DEEPEST:
        raise _Unknown
    found = source.definition(source.meaning(module, ast.parse(kind, mode="eval").body))
    if found is None or not isinstance(found[2], ast.ClassDef):
        raise _Unknown
    return _object(source, found[0], found[2], depth)


def _object(source: Source, module: Module, node: ast.ClassDef, depth: int) -> dict[str, Any]:
    """The fields of a pydantic model that must be given, those of its bases included."""
    made: dict[str, Any] = {}
    known = False
    for base in node.bases:
        meaning = source.meaning(module, base) or ""
        found = source.definition(meaning)
        if found is not None and isinstance(found[2], ast.ClassDef):
            made |= _object(source, found[0], found[2], depth + 1)
            known = True
        known = known or meaning == "pydantic.BaseModel"
    if not known or any(
        isinstance(one, ast.FunctionDef) for one in node.body
    ):  # validators may want anything
        raise _Unknown
    for field in node.body:
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            if field.value is None:
                made[field.target.id] = _value(
                    source, module, ast.unparse(field.annotation).strip("'\""), depth + 1
                )
            elif isinstance(field.value, ast.Call):
                raise _Unknown  # Field(…) with rules of its own
    return made
