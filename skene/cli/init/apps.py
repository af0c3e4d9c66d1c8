"""Finds FastAPI apps in source, and the routes that lead to them through routers, prefixes and mounts."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from skene.cli.init.source import Function, Module, Source, is_test, targets

__all__ = ["App", "Route", "Routes", "dependencies_of", "find_apps", "find_routes", "signature_of"]

_METHODS = {name: name.upper() for name in ("get", "post", "put", "patch", "delete", "head", "options")}
_DEEPEST = 10

Key: TypeAlias = tuple[str, str, str]
"""An app or router: its module, the function that makes it (empty at the top level), its name."""


@dataclass(frozen=True, slots=True)
class App:
    """An app.

    Attributes:
        path: its file.
        name: the variable.
        factory: the function that makes it; None at the top level.
        node: the statement that makes it.
    """

    path: str
    name: str
    factory: str | None
    node: ast.stmt = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Route:
    """A route as it is reached.

    Attributes:
        method: in capitals.
        path: the full template.
        module, function: its handler; None for one that is added by its name.
        depends: dotted names of the dependencies that it has by itself, its routers and the app.
    """

    method: str
    path: str
    module: Module = field(repr=False)
    function: Function | None = field(repr=False)
    depends: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(slots=True)
class Routes:
    """The routes of an app.

    Attributes:
        found: sorted by path.
        unread: places whose prefix is only known when the app runs.
    """

    found: list[Route] = field(default_factory=list[Route])
    unread: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True)
class _Router:
    prefix: str | None
    depends: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Inside:
    """A router in another: where, and what comes with it."""

    inner: Key
    prefix: str | None
    depends: frozenset[str]
    place: str


def find_apps(trees: Mapping[str, ast.Module]) -> list[App]:
    """Every `app = FastAPI(…)` outside of tests."""
    found: list[App] = []
    for path, tree in trees.items():
        if is_test(path):
            continue
        names = _fastapi_names(tree)
        for factory, node in _statements(tree.body, None):
            if isinstance(node, ast.Assign | ast.AnnAssign) and _makes(node.value, names):
                found += [App(path, name, factory, node) for name in targets(node)]
    return found


def _fastapi_names(tree: ast.Module) -> set[str]:
    """How a file spells FastAPI: the class, its aliases, classes of its own upon it."""
    names = {"fastapi.FastAPI"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in ("fastapi", "fastapi.applications"):
            names |= {one.asname or one.name for one in node.names if one.name == "FastAPI"}
        elif isinstance(node, ast.Import):
            names |= {f"{one.asname}.FastAPI" for one in node.names if one.name == "fastapi" and one.asname}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base) in names for base in node.bases):
            names.add(node.name)
    return names


def _makes(value: ast.expr | None, names: set[str]) -> bool:
    return isinstance(value, ast.Call) and ast.unparse(value.func) in names


def _statements(body: list[ast.stmt], function: str | None) -> Iterator[tuple[str | None, ast.stmt]]:
    """Every statement with the outermost function around it."""
    for node in body:
        yield function, node
        if isinstance(node, ast.ClassDef):
            continue
        inside = node.name if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else None
        for part in ("body", "orelse", "finalbody"):
            inner: list[ast.stmt] = getattr(node, part, None) or []
            yield from _statements(inner, function or inside)


def dependencies_of(source: Source, module: Module, expression: ast.AST | None, depth: int = 0) -> set[str]:
    """What `Depends(…)` and `Security(…)` in an expression name, aliases such as `CurrentUser` followed."""
    found: set[str] = set()
    for node in ast.walk(expression) if expression is not None else ():
        if isinstance(node, ast.Call):
            called = source.meaning(module, node.func) or ""
            if called.rpartition(".")[2] in ("Depends", "Security") and node.args:
                found.add(_defined(source, source.meaning(module, node.args[0])))
        elif isinstance(node, ast.Name | ast.Attribute) and depth < _DEEPEST:
            alias = source.definition(source.meaning(module, node))
            value: object = getattr(alias[2], "value", None) if alias is not None else None
            if alias is not None and isinstance(value, ast.Subscript):
                found |= dependencies_of(source, alias[0], value, depth + 1)
    return found - {""}


def _defined(source: Source, dotted: str | None) -> str:
    found = source.definition(dotted)
    return f"{found[0].name}.{found[1]}" if found else dotted or ""


class _Reader:
    """Collects what a project's modules say about routers."""

    def __init__(self, source: Source, app: App) -> None:
        self.source = source
        self.app: Key = (source.at(app.path).name, app.factory or "", app.name)
        self.routers: dict[Key, _Router] = {}
        self.insides: dict[Key, list[_Inside]] = {}
        self.routes: dict[Key, list[Route]] = {}
        self.unread: list[str] = []

    def read(self, module: Module) -> None:
        """Take in one module: routers first, since decorators name them."""
        statements = list(_statements(module.tree.body, None))
        for function, node in statements:
            if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Call):
                kind = (self.source.meaning(module, node.value.func) or "").rpartition(".")[2]
                if kind in ("APIRouter", "FastAPI"):
                    for name in targets(node):
                        self.routers[module.name, function or "", name] = self._router(module, node.value)
        for function, node in statements:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for decorator in node.decorator_list:
                    self._route(module, function, decorator, node)
            elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                self._call(module, function, node.value)

    def _router(self, module: Module, call: ast.Call) -> _Router:
        given = {one.arg: one.value for one in call.keywords}
        prefix = self.source.text(module, given["prefix"]) if "prefix" in given else ""
        return _Router(prefix, frozenset(dependencies_of(self.source, module, given.get("dependencies"))))

    def _key(self, module: Module, function: str | None, expression: ast.expr) -> Key | None:
        """Which app or router an expression stands for."""
        if isinstance(expression, ast.Name):
            inside = (module.name, function or "", expression.id)
            if inside in self.routers or inside == self.app:
                return inside
            if function is not None and self._is_given(module, function, expression.id):
                return self.app
        found = self.source.definition(self.source.meaning(module, expression))
        return (found[0].name, "", found[1]) if found else None

    def _is_given(self, module: Module, function: str, name: str) -> bool:
        """Whether it is a parameter `app: FastAPI`, as of functions that add routers to the app."""
        node = module.tops.get(function)
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            return False
        return any(
            one.arg == name and one.annotation is not None and "FastAPI" in ast.unparse(one.annotation)
            for one in node.args.args
        )

    def _route(self, module: Module, function: str | None, decorator: ast.expr, node: Function) -> None:
        if isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Attribute):
            self._add(module, function, decorator, decorator.func, node)

    def _add(
        self,
        module: Module,
        function: str | None,
        call: ast.Call,
        named: ast.Attribute,
        node: Function | None,
    ) -> None:
        given = {one.arg: one.value for one in call.keywords}
        methods = [_METHODS[named.attr]] if named.attr in _METHODS else []
        if named.attr in ("api_route", "add_api_route"):
            methods = _listed(given.get("methods")) or ["GET"]
        key = self._key(module, function, named.value) if methods else None
        if key is None:
            return
        first = call.args[0] if call.args else given.get("path")
        path = self.source.text(module, first)
        if path is None:
            self.unread.append(f"{module.path}:{call.lineno}")
            return
        depends = dependencies_of(self.source, module, given.get("dependencies"))
        for argument in signature_of(node):
            depends |= dependencies_of(self.source, module, argument)
        self.routes.setdefault(key, []).extend(
            Route(method, path, module, node, frozenset(depends)) for method in methods
        )

    def _call(self, module: Module, function: str | None, call: ast.Call) -> None:
        named = call.func
        if not isinstance(named, ast.Attribute):
            return
        if named.attr == "add_api_route" and len(call.args) > 1:
            found = self.source.definition(self.source.meaning(module, call.args[1]))
            node = (
                found[2] if found and isinstance(found[2], ast.FunctionDef | ast.AsyncFunctionDef) else None
            )
            self._add(found[0] if found and node else module, function, call, named, node)
            return
        if named.attr not in ("include_router", "mount"):
            return
        given = {one.arg: one.value for one in call.keywords}
        mounted = named.attr == "mount"
        positions = list(reversed(call.args[:2])) if mounted else call.args[:1]
        inner = positions[0] if positions else given.get("app" if mounted else "router")
        where = (
            (positions[1] if len(positions) > 1 else given.get("path")) if mounted else given.get("prefix")
        )
        outer = self._key(module, function, named.value)
        key = self._key(module, function, inner) if inner is not None else None
        if outer is None or key is None:
            return
        prefix = "" if where is None else self.source.text(module, where)
        depends = frozenset(dependencies_of(self.source, module, given.get("dependencies")))
        self.insides.setdefault(outer, []).append(
            _Inside(key, prefix, depends, f"{module.path}:{call.lineno}")
        )

    def below(
        self, key: Key, before: str = "", depends: frozenset[str] = frozenset(), depth: int = 0
    ) -> Iterator[Route]:
        """The routes of an app or router with everything that it includes."""
        own = self.routers.get(key, _Router("", frozenset()))
        if own.prefix is None or depth > _DEEPEST:
            self.unread.append(".".join(part for part in key if part))
            return
        here, everywhere = before + own.prefix, depends | own.depends
        for one in self.routes.get(key, ()):
            yield Route(one.method, here + one.path, one.module, one.function, one.depends | everywhere)
        for inside in self.insides.get(key, ()):
            if inside.prefix is None:
                self.unread.append(inside.place)
            else:
                yield from self.below(
                    inside.inner, here + inside.prefix, everywhere | inside.depends, depth + 1
                )


def _listed(value: ast.expr | None) -> list[str]:
    items = value.elts if isinstance(value, ast.List | ast.Tuple | ast.Set) else []
    return [
        one.value.upper() for one in items if isinstance(one, ast.Constant) and isinstance(one.value, str)
    ]


def signature_of(node: Function | None) -> Iterator[ast.expr]:
    """The annotations and defaults of a function: where its dependencies are named."""
    if node is None:
        return
    every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    yield from (one.annotation for one in every if one.annotation is not None)
    yield from (one for one in [*node.args.defaults, *node.args.kw_defaults] if one is not None)


def find_routes(source: Source, app: App) -> Routes:
    """The routes of an app, as far as source alone tells of them."""
    reader = _Reader(source, app)
    modules = [one for one in source.modules.values() if not is_test(one.path)]
    for module in modules:
        reader.read(module)
    found = {(one.method, one.path): one for one in reader.below(reader.app)}
    return Routes(sorted(found.values(), key=lambda one: (one.path, one.method)), sorted(set(reader.unread)))
