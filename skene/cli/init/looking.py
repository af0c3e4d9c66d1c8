"""Looks at a project and chooses: which app, who calls, which routes. Asks only what cannot be seen."""

import ast
import os
from collections.abc import Mapping
from pathlib import Path

import typer

from skene.cli import terminal
from skene.cli.dotenv import read_values
from skene.cli.failing import CommandError
from skene.cli.init.apps import App, Route, Routes, find_apps, find_routes
from skene.cli.init.callers import Caller, find_caller, named_caller
from skene.cli.init.people import find_sessions, find_users
from skene.cli.init.proposing import patterns_for, propose
from skene.cli.init.samples import find_sample
from skene.cli.init.settings import Settings, find_settings
from skene.cli.init.source import Files, Module, Source, is_test, read_files, targets
from skene.cli.init.writing import PATTERNS, Found, Pattern
from skene.cli.output import counted
from skene.definitions.faults import describe, did_you_mean, nearest

__all__ = ["Look", "look"]

_COUNTS_IN = ("postgresql", "sqlite")


class Look:
    """What was found, and everything that somebody should know of it.

    Attributes:
        source: the project's files.
        found: what is written from.
        notes: for people.
        gated_in: the file that has a gate already; None if none has.
    """

    def __init__(self, source: Source, found: Found, notes: list[str], gated_in: str | None) -> None:
        self.source, self.found, self.notes, self.gated_in = source, found, notes, gated_in


def look(
    folder: Path,
    *,
    app: str | None,
    pattern: str | None,
    chosen: list[str],
    subject: str | None,
    ask: bool,
    env: Mapping[str, str] | None = None,
) -> Look:
    """Look at a project.

    Args:
        folder: the project.
        app, pattern, chosen, subject: as given on the command line.
        ask: somebody can be asked.
        env: the variables; None for those of this process and `.env`.

    Raises:
        CommandError: there is no app, or it cannot be understood.
        typer.BadParameter: what was given cannot be, or is needed.
    """
    kind = _pattern(pattern, ask=ask)
    files = read_files(folder)
    one = _app(files, app, ask=ask)
    source = Source(files.trees, one.path)
    module = source.at(one.path)
    routes = find_routes(source, one)
    settings = find_settings(source, _environment(folder) if env is None else env)
    notes = [f"not read, since it is no Python: {broken}" for broken in files.broken]
    notes += [f"{place}: what is below it is only known when the app runs" for place in routes.unread]
    notes += _settings_notes(settings)
    if kind == "retention" and settings.database == "postgresql" and not settings.database_set:
        notes.append("the query is PostgreSQL's: set DATABASE_URL to the database of your users")
    caller = _caller(source, routes, subject, notes)
    ours = _routes(routes, chosen, caller, ask=ask) if kind in ("freemium", "reverse-trial") else []
    served = _served(source, module, one)
    found = Found(
        pattern=kind,
        app=one,
        module=module.name,
        served=served,
        callable_factory=one.factory is not None and _is_callable(module, one.factory),
        caller=caller,
        routes=routes.found,
        chosen=ours,
        triggers=patterns_for(ours, routes.found),
        sample=find_sample(source, ours, caller),
        users=find_users(source),
        sessions=find_sessions(source),
        settings=settings,
    )
    return Look(source, found, notes, _gated_in(source))


def _pattern(given: str | None, *, ask: bool) -> Pattern:
    if given is None:
        given = terminal.choose("Which pattern?", PATTERNS, default=[0])[0] if ask else PATTERNS[0]
    for one in PATTERNS:
        if one == given.strip().lower().replace("_", "-"):
            return one
    known = f"{', '.join(PATTERNS)}{did_you_mean(given, PATTERNS)}"
    raise typer.BadParameter(f"--pattern: got {_said(given)}; give one of {known}")


def _environment(folder: Path) -> dict[str, str]:
    return {**read_values(folder / ".env", interpolate=True), **os.environ}


def _settings_notes(settings: Settings) -> list[str]:
    if settings.database_set and settings.database not in _COUNTS_IN:
        given = settings.database or "another kind of address"
        raise CommandError(
            f"DATABASE_URL: got {given}; skene counts in postgresql://… or sqlite:///file.db. "
            "Keep yours under another name, and leave DATABASE_URL to skene"
        )
    from skene.wiring import PAIRS

    notes: list[str] = []
    for first, second in PAIRS:
        if (first in settings.variables) != (second in settings.variables):
            there, missing = (first, second) if first in settings.variables else (second, first)
            service = "stripe" if first.startswith("STRIPE") else "resend"
            notes.append(
                f"{there} is set and {missing} is not: `skene login {service}` asks for it, or unset {there}"
            )
    others = settings.stripe if "STRIPE_API_KEY" not in settings.variables else ()
    told = "holds a key of Stripe's; skene reads STRIPE_API_KEY: `skene login stripe`"
    return [*notes, *(f"{name} {told}" for name in others)]


def _app(files: Files, given: str | None, *, ask: bool) -> App:
    apps = find_apps(files.trees)
    if given is not None:
        return _named_app(files, apps, given)
    alone = _without_mounted(files, apps)
    if len(alone) == 1:
        return alone[0]
    if not alone:
        looked = f"looked at {counted(len(files.trees), 'Python file')}"
        broken = "".join(f"\n  {one}: is it in there?" for one in files.broken)
        raise CommandError(
            f"there is no `app = FastAPI(…)` in this folder ({looked}); run the command where your app is, "
            f"or name it with --app module:name{broken}"
        )
    if not ask:
        listed = ", ".join(_shown(files, one) for one in alone)
        raise terminal.needs_terminal(
            f"there are {len(alone)} apps: {listed}", "say which with --app MODULE:NAME"
        )
    shown = {_shown(files, one): one for one in alone}
    return shown[terminal.choose("Which app?", list(shown))[0]]


def _shown(files: Files, app: App) -> str:
    return f"{Source(files.trees, app.path).at(app.path).name}:{app.factory or app.name}"


def _named_app(files: Files, apps: list[App], given: str) -> App:
    module, _, name = given.strip().removesuffix("()").partition(":")
    path = module.removesuffix(".py").replace(".", "/")
    fits = [
        one
        for one in apps
        if one.path.removesuffix(".py").removesuffix("/__init__").endswith(path)
        and _shown(files, one).partition(":")[0].endswith(path.replace("/", "."))
        and name in ("", one.name, one.factory)
    ]
    if len(fits) == 1:
        return fits[0]
    known = [_shown(files, one) for one in apps]
    found = "several are called so" if fits else "there is no such app"
    there = f"{', '.join(known) or 'none'}{did_you_mean(given, known)}"
    raise typer.BadParameter(f"--app: got {_said(given)}; {found}. There are: {there}")


def _without_mounted(files: Files, apps: list[App]) -> list[App]:
    """Apps that are not mounted in another one: `app.mount("/v1", v1)`."""
    if len(apps) < 2:
        return apps
    mounted: set[str] = set()
    for path, tree in files.trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".mount") and not is_test(path):
                mounted |= {ast.unparse(one).rpartition(".")[2] for one in node.args[1:2]}
    return [one for one in apps if one.name not in mounted] or apps


def _caller(source: Source, routes: Routes, given: str | None, notes: list[str]) -> Caller | None:
    if given is not None:
        caller = named_caller(source, given, routes.found)
        if caller is None:
            raise typer.BadParameter(
                f"--subject: got {_said(given)}; give module:name of a function in this project that FastAPI "
                "can call as a dependency and that returns the caller's id, or a user with an `id`"
            )
        return caller
    caller, unclear = find_caller(source, routes.found)
    if caller is None:
        why = (
            f"{unclear} is not seen to return an id" if unclear else "no dependency is seen to sign people in"
        )
        notes.append(
            f"{why}: a placeholder refuses (501) until it says who is calling; or give --subject module:name"
        )
    return caller


def _routes(routes: Routes, given: list[str], caller: Caller | None, *, ask: bool) -> list[Route]:
    if given:
        return [_named_route(routes, one) for one in given]
    proposed = propose(routes.found, caller)
    if not ask or not routes.found:
        return proposed
    default = [routes.found.index(one) for one in proposed]
    return terminal.choose("Which routes are counted?", routes.found, default=default, several=True)


def _named_route(routes: Routes, given: str) -> Route:
    method, _, path = given.strip().partition(" ")
    for one in routes.found:
        if (one.method, one.path) == (method.upper(), path.strip()):
            return one
    known = [str(one) for one in routes.found]
    near = nearest(given, known)
    hint = f"; did you mean {near!r}?" if near else ""
    shown = ", ".join(known[:12]) or "none"
    raise typer.BadParameter(
        f"--route: got {_said(given)}; give method and path of a route. There are: {shown}{hint}"
    )


def _served(source: Source, module: Module, app: App) -> tuple[str, str] | None:
    """The variable that servers name: the app itself, or `app = create_app()` anywhere."""
    if app.factory is None:
        return module.name, app.name
    made = f"{module.name}.{app.factory}"
    for one in source.modules.values():
        for node in one.tree.body if not is_test(one.path) else ():
            value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
            if isinstance(value, ast.Call) and source.meaning(one, value.func) == made and targets(node):
                return one.name, targets(node)[0]
    return None


def _is_callable(module: Module, factory: str) -> bool:
    """Whether a factory can be called without arguments."""
    node = module.tops[factory]
    if not isinstance(node, ast.FunctionDef):
        return False
    return len(node.args.args) == len(node.args.defaults) and None not in node.args.kw_defaults


def _gated_in(source: Source) -> str | None:
    for module in source.modules.values():
        if not is_test(module.path) and "skene.fastapi.Gate" in module.names.values():
            return module.path
    return None


def _said(given: str) -> str:
    """What was given, unless it is a key in the wrong place."""
    told = describe(given)
    return repr(given) if told.endswith(" (str)") else told
