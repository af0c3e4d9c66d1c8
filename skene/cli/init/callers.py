"""Finds out who is calling: the dependency by which an app knows its users, and how it gives their ids."""

import ast
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from skene.cli.init.apps import Route, dependencies_of, signature_of
from skene.cli.init.source import Module, Source, targets

__all__ = ["Caller", "find_caller", "named_caller"]

_USER = re.compile(
    r"(?:^|_)(?:current_(?:\w+_)?(?:user|account|principal|member|customer|subject)|get_user|user_?id|account_?id)"
)
_AUTH = re.compile(r"(?:^|_)(?:auth\w*|token|logged_?in|login|principal|verify\w*|user|require_\w+|api_?key)")
_SIGNED_IN = re.compile(
    r"HTTPBearer|HTTPBasic|OAuth2|APIKey\w+|OpenIdConnect|jwt|Header|Cookie|\b40[13]\b|HTTP_40[13]"
)
_IDS = ("id", "user_id", "uid", "pk", "sub", "username", "email")
_DIRECT = frozenset(("str", "int", "UUID", "uuid.UUID"))


@dataclass(frozen=True, slots=True)
class Caller:
    """The dependency that says who calls.

    Attributes:
        module, name: where it is.
        expression: the id, from what it returns, called `user`; None if it returns the id itself.
        optional: it may return None, for somebody who is not signed in.
    """

    module: str
    name: str
    expression: str | None = None
    optional: bool = False

    def __str__(self) -> str:
        return f"{self.module}:{self.name}"


@dataclass(slots=True)
class _Candidate:
    module: Module
    name: str
    node: ast.stmt
    score: int
    uses: int
    inner: set[str] = field(default_factory=set[str])

    @property
    def dotted(self) -> str:
        return f"{self.module.name}.{self.name}"


def find_caller(source: Source, routes: Sequence[Route]) -> tuple[Caller | None, str | None]:
    """The dependency that the routes know their callers by.

    Returns:
        It; or None and, if one was found whose id is not to be seen, its name.
    """
    uses = Counter(dotted for route in routes for dotted in _with_inner(source, route.depends))
    candidates = [
        one for one in (_candidate(source, dotted, number) for dotted, number in uses.items()) if one
    ]
    inside = {dotted for one in candidates for dotted in one.inner}
    known = {one.dotted: one.score for one in candidates}
    for one in candidates:  # what asks the sign-in for more is a sign-in, too
        one.score = max([one.score, *(known.get(dotted, 0) for dotted in one.inner)])
    # Of two in a row the outer one is what routes ask for; it may refuse whom the inner one lets in.
    candidates = [one for one in candidates if one.score > 1]
    candidates.sort(key=lambda one: (one.score, one.uses, one.dotted not in inside), reverse=True)
    unclear = None
    for one in candidates:
        caller = _caller(source, one, routes)
        if caller is not None:
            return caller, None
        unclear = unclear or f"{one.module.name}:{one.name}"
    return None, unclear


def _with_inner(source: Source, depends: frozenset[str]) -> set[str]:
    """Dependencies with those that they depend on."""
    found, queue = set[str](), list(depends)
    while queue:
        dotted = queue.pop()
        if dotted not in found:
            found.add(dotted)
            queue += _inner(source, dotted)
    return found


def _inner(source: Source, dotted: str) -> set[str]:
    found = source.definition(dotted)
    if found is None or not isinstance(found[2], ast.FunctionDef | ast.AsyncFunctionDef):
        return set()
    return {inner for one in signature_of(found[2]) for inner in dependencies_of(source, found[0], one)}


def _candidate(source: Source, dotted: str, uses: int) -> _Candidate | None:
    found = source.definition(dotted)
    if found is None:
        return None
    module, name, node = found
    score = 3 if _USER.search(name) else 1 if _AUTH.search(name) else 0
    inner = _inner(source, dotted)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        if any(isinstance(one, ast.Yield | ast.YieldFrom) for one in ast.walk(node)):
            return None  # a session, a connection
        if node.returns is not None and ast.unparse(node.returns) == "None":
            return None  # it only lets in
        text = " ".join([ast.unparse(node), *inner])
        score += 2 if score and _SIGNED_IN.search(text) else 0
    elif not _is_fastapi_users(node):
        return None
    return _Candidate(module, name, node, score, uses, inner) if score else None


def _is_fastapi_users(node: ast.stmt) -> bool:
    """`current_user = fastapi_users.current_user()`."""
    value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
    return isinstance(value, ast.Call) and ast.unparse(value.func).endswith(".current_user")


def _caller(source: Source, one: _Candidate, routes: Sequence[Route]) -> Caller | None:
    returns = one.node.returns if isinstance(one.node, ast.FunctionDef | ast.AsyncFunctionDef) else None
    kind, optional = _without_none(returns)
    if kind in _DIRECT:
        return Caller(one.module.name, one.name, None, optional)
    if kind.partition("[")[0] in ("dict", "Mapping", "typing.Dict", "Dict"):
        key = _first(_read_keys(source, one, routes)) or _first(_keys_inside(one.node))
        return Caller(one.module.name, one.name, f'user["{key}"]', optional) if key else None
    attribute = _attribute(source, one, kind, routes)
    return Caller(one.module.name, one.name, f"user.{attribute}", optional) if attribute else None


def _without_none(returns: ast.expr | None) -> tuple[str, bool]:
    """An annotation in words, and whether it may be None."""
    words = ast.unparse(returns).strip("'\"") if returns is not None else ""
    inner = re.fullmatch(r"(?:typing\.)?Optional\[(.+)\]", words)
    plain = inner.group(1) if inner else re.sub(r"\s*\|\s*None$|^None\s*\|\s*", "", words)
    return plain, plain != words


def _attribute(source: Source, one: _Candidate, kind: str, routes: Sequence[Route]) -> str | None:
    """Which attribute of what it returns is the id: by its class, else by what routes read."""
    if _is_fastapi_users(one.node):
        return "id"
    if re.fullmatch(r"[\w.]+", kind):
        found = source.definition(source.meaning(one.module, ast.parse(kind, mode="eval").body))
        if found is not None and isinstance(found[2], ast.ClassDef):
            return _first(_fields(source, found[0], found[2]))
    return _first(_read_attributes(source, one, routes))


def _fields(source: Source, module: Module, node: ast.ClassDef, depth: int = 0) -> set[str]:
    """The fields of a class and of its bases in the project."""
    names = {name for statement in node.body for name in targets(statement)}
    for base in node.bases:
        found = source.definition(source.meaning(module, base))
        if found is not None and isinstance(found[2], ast.ClassDef) and depth < 5:
            names |= _fields(source, found[0], found[2], depth + 1)
    return names


def _first(names: set[str]) -> str | None:
    return next((name for name in _IDS if name in names), None)


def _parameters(source: Source, one: _Candidate, route: Route) -> set[str]:
    """What a route calls the dependency's value."""
    node, found = route.function, set[str]()
    if node is None:
        return found
    arguments = [*node.args.posonlyargs, *node.args.args]
    pairs = list(zip(arguments[::-1], node.args.defaults[::-1], strict=False))
    pairs += [(a, d) for a, d in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True) if d]
    given = [(a.arg, a.annotation) for a in [*arguments, *node.args.kwonlyargs] if a.annotation is not None]
    for name, expression in [*given, *((a.arg, d) for a, d in pairs)]:
        if one.dotted in dependencies_of(source, route.module, expression):
            found.add(name)
    return found


def _read_attributes(source: Source, one: _Candidate, routes: Sequence[Route]) -> set[str]:
    return {
        node.attr
        for route in routes
        for name in _parameters(source, one, route)
        for node in ast.walk(route.function or ast.Module([], []))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == name
    }


def _read_keys(source: Source, one: _Candidate, routes: Sequence[Route]) -> set[str]:
    return {
        key
        for route in routes
        for name in _parameters(source, one, route)
        for node in ast.walk(route.function or ast.Module([], []))
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == name
        for key in [node.slice.value if isinstance(node.slice, ast.Constant) else None]
        if isinstance(key, str)
    }


def _keys_inside(node: ast.stmt) -> set[str]:
    """The keys of the dictionaries that a function writes down."""
    return {
        key.value
        for one in ast.walk(node)
        if isinstance(one, ast.Dict)
        for key in one.keys
        if isinstance(key, ast.Constant) and isinstance(key.value, str)
    }


def named_caller(source: Source, given: str, routes: Sequence[Route]) -> Caller | None:
    """The dependency that somebody names as `module:name`; None if it is not there or gives no id."""
    module, _, name = given.strip().partition(":")
    found = source.definition(f"{module}.{name}")
    if found is None:
        return None
    one = _Candidate(found[0], found[1], found[2], 0, 0)
    function = isinstance(one.node, ast.FunctionDef | ast.AsyncFunctionDef)
    return _caller(source, one, routes) if function or _is_fastapi_users(one.node) else None
