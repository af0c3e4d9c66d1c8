"""Puts the gate into the file of the app: imports below the others, two lines behind the app."""

import ast
from dataclasses import dataclass, field

from skene.cli.failing import CommandError
from skene.cli.init.apps import App
from skene.cli.init.callers import Caller
from skene.cli.init.source import Module, targets

__all__ = ["PLACEHOLDER", "Edit", "edit_app"]

PLACEHOLDER = "current_user_id"
_REFUSES = '''def {name}() -> str:
    """Who is calling: return the id of the signed-in user. Until then every gated route refuses."""
    raise HTTPException(501, "{name} in {path} does not say yet who is calling")
'''
_TAKES = '''def {name}(user: Annotated[Any, Depends({dependency})]) -> {kind}:
    """The id that skene counts by."""
    return {value}
'''


@dataclass(frozen=True, slots=True)
class Edit:
    """A changed file.

    Attributes:
        text: all of it, with bare line feeds.
        subject: what names the dependency that a test replaces, in `subject_module`.
    """

    text: str
    subject: str
    subject_module: str


@dataclass(slots=True)
class _Addition:
    imports: list[str] = field(default_factory=list[str])
    function: str = ""
    subject: str = ""


def edit_app(text: str, module: Module, app: App, caller: Caller | None, config: str) -> Edit:
    """The file with the gate in it.

    Args:
        text: as it is, with bare line feeds.
        module, app: what was found in it.
        caller: who says who calls; None writes a placeholder that refuses.
        config: the module of the configuration.

    Raises:
        CommandError: the lines cannot be put there.
    """
    taken = {*module.names, *module.tops}
    skene = "skene" if "skene" not in taken else "skene_loops"
    gate = "gate" if "gate" not in taken else "skene_gate"
    added = _subject(module, caller, taken)
    renamed = "" if skene == "skene" else f" as {skene}"
    added.imports += [f"from {config} import skene{renamed}", "from skene.fastapi import Gate"]
    top = _statement_around(module, app)
    insertions = [(_last_import(module, top), _imports(added.imports))]
    install = f"{gate} = Gate({skene}, subject={added.subject})\n{gate}.install({app.name})\n"
    if app.factory is None:
        theirs = caller.name if caller is not None and caller.module == module.name else ""
        line = max(top.end_lineno or top.lineno, _end_of(module, theirs))
        function = f"\n\n{added.function}\n" if added.function else ""
        gap = "\n\n" if function or line != top.end_lineno else "\n"
        insertions.append((line, f"{function.rstrip(chr(10))}{chr(10) if function else ''}{gap}{install}"))
    else:
        if added.function:
            insertions.append((_start_of(top) - 1, f"{added.function}\n\n"))
        indent = " " * app.node.col_offset
        line = app.node.end_lineno or app.node.lineno
        insertions.append((line, "".join(f"{indent}{one}\n" for one in install.splitlines())))
    edited = _insert(text, insertions)
    try:
        ast.parse(edited)
    except SyntaxError as error:
        raise CommandError(
            f"{app.path}: the lines cannot be put there ({error.msg}); add them by hand:\n"
            + "".join(f"  {one}\n" for one in [*added.imports, *install.splitlines()])
        ) from error
    if caller is None:
        return Edit(edited, PLACEHOLDER, module.name)
    return Edit(edited, caller.name, caller.module)


def _subject(module: Module, caller: Caller | None, taken: set[str]) -> _Addition:
    """The dependency that gives the id, and what it needs."""
    if caller is None:
        refuses = _REFUSES.format(name=PLACEHOLDER, path=module.path)
        return _Addition(_unless(taken, "fastapi", "HTTPException"), refuses, PLACEHOLDER)
    theirs = _unless(taken, caller.module, caller.name) if caller.module != module.name else []
    if caller.expression is None:
        return _Addition(theirs, "", caller.name)
    imports = [*_unless(taken, "typing", "Annotated", "Any"), *_unless(taken, "fastapi", "Depends"), *theirs]
    value = f"str({caller.expression})" + (" if user is not None else None" if caller.optional else "")
    kind = "str | None" if caller.optional else "str"
    name = "skene_subject"
    function = _TAKES.format(name=name, dependency=caller.name, kind=kind, value=value)
    return _Addition(imports, function, name)


def _unless(taken: set[str], module: str, *names: str) -> list[str]:
    missing = [name for name in names if name not in taken]
    return [f"from {module} import {', '.join(missing)}"] if missing else []


def _imports(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in sorted(lines, key=lambda line: not line.startswith("from typing")))


def _statement_around(module: Module, app: App) -> ast.stmt:
    """The statement of the top level that the app is made in."""
    if app.factory is not None:
        return module.tops[app.factory]
    line = app.node.lineno
    return next(one for one in module.tree.body if one.lineno <= line <= (one.end_lineno or one.lineno))


def _last_import(module: Module, before: ast.stmt) -> int:
    """The line of the last import of the top level in front of a statement; else of what must come first."""
    first = [one for one in module.tree.body if one.lineno < before.lineno]
    imports = [one for one in first if isinstance(one, ast.Import | ast.ImportFrom)]
    if imports:
        return imports[-1].end_lineno or imports[-1].lineno
    docstring = first[:1] and isinstance(first[0], ast.Expr) and isinstance(first[0].value, ast.Constant)
    return (first[0].end_lineno or 0) if docstring else 0


def _end_of(module: Module, name: str) -> int:
    """The last line of what defines a name here; 0 if it comes from elsewhere."""
    wanted = {name}
    node = next((one for one in module.tree.body if wanted & set(targets(one))), None)
    return (node.end_lineno or 0) if node is not None else 0


def _start_of(node: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(one.lineno for one in decorators)])


def _insert(text: str, insertions: list[tuple[int, str]]) -> str:
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    for after, added in sorted(insertions, reverse=True):
        lines.insert(after, added)
    return "".join(lines)
