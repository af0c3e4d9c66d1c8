"""`skene check`: does the configuration work, what does it do, and what does it gate?"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skene.cli.failing import DebugOption, guarded, report, scrub
from skene.cli.gates import AppOption, load_gate
from skene.cli.loading import ConfigOption, LoadError, find_config, load_skene
from skene.cli.output import JsonOption, counted, examples, print_json, say
from skene.cli.people import with_storage
from skene.cli.reactions import describe_goal, describe_reaction, goal_as_json, reaction_as_json
from skene.cli.words import describe_step, step_as_json
from skene.definitions.faults import Fault
from skene.errors import ConfigurationError, QueryError, StorageError

if TYPE_CHECKING:
    from skene.definitions import Loop
    from skene.engine.program import CompiledStep
    from skene.engine.reactions import Reaction
    from skene.runtime.skene import Runtime

__all__ = ["commands", "routes_of"]

commands = typer.Typer()

Routes = dict[str, list[tuple[str, str]]]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong.

    Attributes:
        what: the fault, or words.
        where: file and line it comes from, where that is known.
        code: names the kind of problem, as the codes of errors do.
    """

    what: Fault | str
    where: str = ""
    code: str = ConfigurationError.code

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" if self.where else str(self.what)


@dataclass(slots=True)
class Found:
    """What was found.

    Attributes:
        config: where the configuration is.
        skene: what is there, if it loads.
        routes: method and path of what each step covers, by the step's key; None without an app.
        missing: triggers that the database has not got; None when nobody looked.
        problems: everything that is wrong.
    """

    config: str
    skene: "Runtime | None" = None
    routes: Routes | None = None
    missing: list[dict[str, str]] | None = None
    problems: list[Problem] = field(default_factory=list[Problem])

    def note(
        self, faults: Iterable[Fault | str], where: str = "", code: str = ConfigurationError.code
    ) -> None:
        """Add problems."""
        self.problems += [Problem(fault, where, code) for fault in faults]

    def note_error(self, error: LoadError | ConfigurationError) -> None:
        """Add what an error says: its faults one by one, each with the place it comes from."""
        where = getattr(error, "where", "") if error.faults else ""
        self.note(error.faults or [str(error)], where, error.code)


@commands.command(
    epilog=examples(
        "skene check",
        "skene check --app app:app",
        "skene check --app app:app --json",
        "skene check --database",
        codes="there are problems; each is a line on standard error (with --json on standard output)",
    )
)
@guarded
def check(
    app: AppOption = None,
    database: Annotated[
        bool,
        typer.Option(
            "--database", help="Connect, prepare every query, and look for the triggers that rows need."
        ),
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """List loops in words, their routes, and all problems.

    It starts nothing, and connects to nothing without --database.
    """
    found = Found(find_config(config))
    _look(found, config, app)
    if database and found.skene is not None:
        _look_at_database(found, found.skene)
    if as_json:
        print_json(_as_json(found))
    else:
        _print(found)
    if found.problems:
        raise typer.Exit(1)


def _look(found: Found, config: str | None, app: str | None) -> None:
    try:
        found.skene = load_skene(config)
    except LoadError as error:
        found.note_error(error)
        return
    found.note(found.skene.faults())
    if app is not None:
        try:
            _look_at_app(found, found.skene, app)
        except (LoadError, ConfigurationError) as error:
            found.note_error(error)


def _look_at_app(found: Found, skene: "Runtime", where: str) -> None:
    found.routes = routes_of(skene, where, lambda problem: found.note([problem]), found.config)


def routes_of(
    skene: "Runtime", where: str, note: Callable[[str], None] | None = None, config: str = "the configuration"
) -> Routes:
    """Which routes of an app each step covers: method and path, by the step's key.

    Args:
        skene: the configuration's.
        where: the app, as `module:name`.
        note: takes what is wrong without being in the way; None raises it.
        config: what the configuration is called in messages.

    Raises:
        LoadError: there is no such app, or it is not gated.
        ConfigurationError: patterns cover no route, or one that cannot be gated.
    """
    place, _, gate = load_gate(where)
    if gate.skene is not skene:
        another = f"--app: the gate of {place} uses another Skene than {config}; "
        told = another + "give both the same, or name the app's own with --config"
        if note is None:
            raise LoadError(told)
        note(told)
    gate.look_at_routes()
    routes: Routes = {step.key: [] for step in skene.program.steps}
    for gated in gate.gated:
        for method, steps in gated.by_method.items():
            for step in steps if method != "*" else ():
                routes.setdefault(step.key, []).append((method, gated.path))
    return {key: sorted(covered, key=lambda one: (one[1], one[0])) for key, covered in routes.items()}


def _look_at_database(found: Found, skene: "Runtime") -> None:
    try:
        seen = with_storage(skene, lambda one: one.look_at_database())
    except StorageError as error:
        found.note([str(error)], code=error.code)
        return
    found.missing = [{"step": one.step, "table": one.table, "event": one.event} for one in seen.missing]
    found.note(seen.faults)
    found.note([f"could not be checked: {text}" for text in seen.unknown], code=QueryError.code)
    for one in seen.missing:
        what = f"{one.step}: the trigger for {one.event}s of {one.table} is not in the database, or outdated"
        found.note([f"{what}; run `skene db triggers --install`"], code="triggers_missing")


def _print(found: Found) -> None:
    skene = found.skene
    if skene is not None:
        say(found.config)
        for loop in skene.loops:
            say(f"\nloop {loop.key}" + (f": {loop.opinion}" if loop.opinion else ""))
            if loop.goal is not None:
                say(f"  goal {describe_goal(loop.goal, loop.attribution)}")
            for step in _steps_of(skene, loop):
                _print_step(skene, step, found.routes)
        say()
    for problem in found.problems:
        report(str(problem))
    if not found.problems and skene is not None:
        steps = len(skene.program.steps) + len(skene.program.reactions.all)
        say(f"ok: {counted(len(skene.loops), 'loop')}, {counted(steps, 'step')}{_gated(found, skene)}")


def _steps_of(skene: "Runtime", loop: "Loop") -> "list[CompiledStep | Reaction]":
    """The steps of a loop, in the order they were written."""
    program = skene.program
    every: list[CompiledStep | Reaction] = [*program.steps, *program.reactions.all]
    steps = [one for one in every if one.loop == loop.key]
    return sorted(steps, key=lambda one: int(one.path.rpartition("[")[2].rstrip("]")))


def _print_step(skene: "Runtime", step: "CompiledStep | Reaction", routes: Routes | None) -> None:
    from skene.engine.program import CompiledStep

    say(f"  step {step.key}")
    if isinstance(step, CompiledStep):
        lines = describe_step(step)
        covered = [f"{method} {path}" for method, path in (routes or {}).get(step.key, ())]
        lines += [("" if number else "covers", one) for number, one in enumerate(covered)]
    else:
        lines = describe_reaction(step, skene.program.reactions, skene.clock.now())
    for heading, words in lines:
        say(f"    {heading:<9} {words}")


def _gated(found: Found, skene: "Runtime") -> str:
    if found.routes is None:
        return "; --app module:app shows the routes they cover" if skene.program.steps else ""
    return f", {counted(len({one for covered in found.routes.values() for one in covered}), 'gated route')}"


def _as_json(found: Found) -> dict[str, Any]:
    skene = found.skene
    problems = [_problem(one) for one in found.problems]
    said: dict[str, Any] = {"ok": not problems, "config": found.config}
    said["loops"] = [] if skene is None else [_loop_as_json(found, skene, loop) for loop in skene.loops]
    if found.missing is not None:
        said["missing_triggers"] = found.missing
    return {**said, "problems": problems}


def _loop_as_json(found: Found, skene: "Runtime", loop: "Loop") -> dict[str, Any]:
    return {
        "loop": loop.key,
        "type": loop.type,
        "opinion": loop.opinion,
        "goal": goal_as_json(loop.goal, loop.attribution),
        "steps": [_step_as_json(found, skene, step) for step in _steps_of(skene, loop)],
    }


def _step_as_json(found: Found, skene: "Runtime", step: "CompiledStep | Reaction") -> dict[str, Any]:
    from skene.engine.program import CompiledStep

    if isinstance(step, CompiledStep):
        return step_as_json(step, None if found.routes is None else found.routes.get(step.key, []))
    return reaction_as_json(step, skene.program.reactions, skene.clock.now())


def _problem(problem: Problem) -> dict[str, Any]:
    """Each has a `code` and a `message`; faults also say where, what was given, and what may be given."""
    fault, told = problem.what, {"code": problem.code, "message": scrub(str(problem))}
    if isinstance(fault, str):
        return told
    parts = {name: scrub(getattr(fault, name)) for name in ("path", "given", "allowed")}
    return {**told, **parts, "hint": fault.hint, "where": problem.where or None}
