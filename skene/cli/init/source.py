"""A project's Python files, read and never run: what they import, and what a name in one of them means."""

import ast
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

__all__ = ["Function", "Module", "Source", "is_test", "read_files"]

Function = ast.FunctionDef | ast.AsyncFunctionDef

_NOT_OURS = frozenset(
    ("__pycache__", "node_modules", "site-packages", "venv", "env", "build", "dist", "migrations", "alembic")
)
_MOST_FILES = 5000
_MOST_BYTES = 1_000_000
_DEEPEST = 8


@dataclass(frozen=True, slots=True, eq=False)
class Module:
    """A file.

    Attributes:
        path: below the project's folder, with `/`.
        name: as it is imported, `shop.main`.
        tree: what is in it.
        names: what its imports bind, as dotted names.
        tops: what its top level defines, by name; the last one that does.
    """

    path: str
    name: str
    tree: ast.Module
    names: Mapping[str, str]
    tops: Mapping[str, ast.stmt]


@dataclass(frozen=True, slots=True)
class Files:
    """What was read.

    Attributes:
        trees: by path.
        broken: path and line of files that are no Python.
    """

    trees: dict[str, ast.Module] = field(default_factory=dict[str, ast.Module])
    broken: list[str] = field(default_factory=list[str])


def read_files(folder: Path) -> Files:
    """Read every Python file below a folder, but for environments and caches."""
    read = Files()
    for path in _paths(folder):
        shown = path.relative_to(folder).as_posix()
        try:
            if path.stat().st_size <= _MOST_BYTES:
                read.trees[shown] = ast.parse(path.read_bytes(), shown)
        except SyntaxError as error:
            read.broken.append(f"{shown}:{error.lineno}: {error.msg}")
        except (OSError, ValueError) as error:  # ValueError: a null byte
            read.broken.append(f"{shown}: {error}")
    return read


def _paths(folder: Path) -> Iterator[Path]:
    found = 0
    for here, folders, files in os.walk(folder):
        if "pyvenv.cfg" in files:
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if name not in _NOT_OURS and not name.startswith("."))
        for name in sorted(files):
            if name.endswith(".py") and found < _MOST_FILES:
                found += 1
                yield Path(here, name)


def is_test(path: str) -> bool:
    """Whether a file belongs to tests, whose apps are not the app."""
    parts = PurePosixPath(path)
    return bool({"tests", "test"} & set(parts.parts[:-1])) or parts.name.startswith(("test_", "conftest."))


class Source:
    """All modules of a project, under the names that they import each other by.

    Args:
        trees: by path.
        near: the file whose imports decide where names begin: in this folder, in `src`, or deeper.
    """

    def __init__(self, trees: Mapping[str, ast.Module], near: str) -> None:
        self.root = _root(trees, near)
        self.modules = {
            one.name: one for one in (_module(path, tree, self.root) for path, tree in trees.items())
        }

    def at(self, path: str) -> Module:
        """The module in a file."""
        return next(one for one in self.modules.values() if one.path == path)

    def meaning(self, module: Module, expression: ast.expr) -> str | None:
        """The dotted name of what `name` or `name.attribute` stands for; None for anything else."""
        if isinstance(expression, ast.Attribute):
            before = self.meaning(module, expression.value)
            return None if before is None else f"{before}.{expression.attr}"
        if not isinstance(expression, ast.Name):
            return None
        name = expression.id
        return module.names.get(name) or (f"{module.name}.{name}" if name in module.tops else name)

    def definition(self, dotted: str | None, depth: int = 0) -> tuple[Module, str, ast.stmt] | None:
        """Where a dotted name is defined, imports of imports followed; None if that is not in the project."""
        owner, _, name = (dotted or "").rpartition(".")
        module = self.modules.get(owner)
        if module is None or depth > _DEEPEST:
            return None
        if name in module.tops:
            return module, name, module.tops[name]
        return self.definition(module.names.get(name), depth + 1)

    def text(self, module: Module, expression: ast.expr | None) -> str | None:
        """A text that can be read without running anything: a literal, a constant, a setting's default."""
        if isinstance(expression, ast.Constant):
            return expression.value if isinstance(expression.value, str) else None
        if isinstance(expression, ast.BinOp) and isinstance(expression.op, ast.Add):
            both = self.text(module, expression.left), self.text(module, expression.right)
            return None if both[0] is None or both[1] is None else both[0] + both[1]
        if isinstance(expression, ast.JoinedStr):
            parts = [
                self.text(module, part.value if isinstance(part, ast.FormattedValue) else part)
                for part in expression.values
            ]
            return None if None in parts else "".join(part or "" for part in parts)
        if expression is None:
            return None
        found = self.definition(self.meaning(module, expression))
        if found is not None and isinstance(found[2], ast.Assign | ast.AnnAssign):
            return self.text(found[0], found[2].value) if found[2].value is not expression else None
        return self._default_of(expression.attr) if isinstance(expression, ast.Attribute) else None

    def _default_of(self, attribute: str) -> str | None:
        """`settings.API_PREFIX`: the default of the one class in the project that has such a field."""
        found = {
            node.value.value
            for module in self.modules.values()
            for kind in ast.walk(module.tree)
            if isinstance(kind, ast.ClassDef)
            for node in kind.body
            if isinstance(node, ast.AnnAssign | ast.Assign)
            and attribute in targets(node)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        }
        return found.pop() if len(found) == 1 else None


def targets(node: ast.stmt) -> list[str]:
    """The plain names that a statement binds."""
    if isinstance(node, ast.Assign):
        return [one.id for one in node.targets if isinstance(one, ast.Name)]
    if isinstance(node, ast.AnnAssign):
        return [node.target.id] if isinstance(node.target, ast.Name) else []
    return [node.name] if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) else []


def _module(path: str, tree: ast.Module, root: str) -> Module:
    name = _name(path, root)
    package = name if path.endswith("__init__.py") else name.rpartition(".")[0]
    names = dict(_imports(tree, package))
    tops = {bound: node for node in _top_level(tree.body) for bound in targets(node)}
    return Module(path, name, tree, names, tops)


def _name(path: str, root: str) -> str:
    inside = path.removeprefix(f"{root}/") if root else path
    return inside.removesuffix(".py").removesuffix("__init__").rstrip("/").replace("/", ".")


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        yield node
        if isinstance(node, ast.If | ast.Try):
            yield from _top_level(node.body)


def _imports(tree: ast.Module, package: str) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for one in node.names:
                first = one.name.partition(".")[0]
                yield (one.asname, one.name) if one.asname else (first, first)
        elif isinstance(node, ast.ImportFrom):
            origin = _origin(node, package)
            for one in node.names:
                yield one.asname or one.name, f"{origin}.{one.name}" if origin else one.name


def _origin(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")[: len(package.split(".")) - (node.level - 1)]
    return ".".join([*parts, *([node.module] if node.module else [])])


def _root(trees: Mapping[str, ast.Module], near: str) -> str:
    """The folder that absolute imports begin in: the one where most of the project's own are found.

    Without any, the folder that holds the outermost package around the file.
    """
    folder = PurePosixPath(near).parent
    choices = [str(one) if str(one) != "." else "" for one in (folder, *folder.parents)]
    imported = {
        name
        for path, tree in trees.items()
        if not is_test(path)
        for node in ast.walk(tree)
        for name in _absolute(node)
    }

    def found(root: str) -> int:
        before = f"{root}/" if root else ""
        paths = (f"{before}{name.replace('.', '/')}" for name in imported)
        return sum(f"{one}.py" in trees or f"{one}/__init__.py" in trees for one in paths)

    best = max(choices, key=found)
    if found(best):
        return best
    outside = [one for one in choices if f"{one}/__init__.py" not in trees]
    # A folder without __init__.py may be a package all the same; `src` and the project's own never are.
    return outside[0] if outside else ""


def _absolute(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [one.name for one in node.names]
    if isinstance(node, ast.ImportFrom) and not node.level and node.module:
        return [node.module, *(f"{node.module}.{one.name}" for one in node.names)]
    return []
