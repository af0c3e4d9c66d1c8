"""`skene check`: does the configuration work, and what does it gate?"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skene.cli.failing import DebugOption, guarded, report, scrub
from skene.cli.loading import ConfigOption, LoadError, find_config, load_object, load_skene
from skene.cli.output import JsonOption, examples, print_json, say
from skene.cli.words import describe_step, step_as_json
from skene.definitions.faults import Fault
from skene.errors import ConfigurationError

if TYPE_CHECKING:
    from skene.engine.program import CompiledStep
    from skene.runtime.skene import Runtime

__all__ = ["commands"]

commands = typer.Typer()

Routes = dict[str, list[tuple[str, str]]]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong.

    Attributes:
        what: the fault, or words.
        where: file and line it comes from, where that is known.
    """

    what: Fault | str
    where: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" if self.where else str(self.what)


@dataclass(slots=True)
class Found:
    """What was found.

    Attributes:
        config: where the configuration is.
        skene: what is there, if it loads.
        routes: method and path of what each step covers, by the step's key; None without an app.
        problems: everything that is wrong.
    """

    config: str
    skene: "Runtime | None" = None
    routes: Routes | None = None
    problems: list[Problem] = field(default_factory=list[Problem])

    def note(self, faults: Iterable[Fault | str], where: str = "") -> None:
        """Add problems."""
        self.problems += [Problem(fault, where) for fault in faults]

    def note_error(self, error: LoadError | ConfigurationError) -> None:
        """Add what an error says: its faults one by one, each with the place it comes from."""
        self.note(error.faults or [str(error)], getattr(error, "where", "") if error.faults else "")


@commands.command(
    epilog=examples(
        "skene check",
        "skene check --app app:app",
        "skene check --app app:app --json",
        codes="there are problems; each is a line on standard error (with --json on standard output)",
    )
)
@guarded
def check(
    app: Annotated[
        str | None,
        typer.Option(metavar="MODULE:NAME", help="Your FastAPI app, to see which routes are gated."),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """List loops in words, the routes they cover, and all problems.

    It starts nothing and connects to nothing.
    """
    found = Found(find_config(config))
    _look(found, config, app)
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
    from fastapi import FastAPI

    from skene.fastapi import Gate

    place, app = load_object(where, "--app", "app")
    if not isinstance(app, FastAPI):
        hint = "; call it first" if callable(app) and not isinstance(app, type) else ""
        raise LoadError(f"--app: {place} is a {type(app).__name__}; it must be a FastAPI app{hint}")
    gate = getattr(app.state, "skene_gate", None)
    if not isinstance(gate, Gate):
        raise LoadError(f"--app: {place} has no gate; call gate.install(app)")
    if gate.skene is not skene:
        another = f"--app: the gate of {place} uses another Skene than {found.config}; "
        found.note([another + "give both the same, or name the app's own with --config"])
    gate.look_at_routes()
    routes: Routes = {step.key: [] for step in skene.program.steps}
    for gated in gate.gated:
        for method, steps in gated.by_method.items():
            for step in steps if method != "*" else ():
                routes.setdefault(step.key, []).append((method, gated.path))
    found.routes = {key: sorted(covered, key=lambda one: (one[1], one[0])) for key, covered in routes.items()}


def _print(found: Found) -> None:
    skene = found.skene
    if skene is not None:
        say(found.config)
        for loop in skene.loops:
            say(f"\nloop {loop.key}" + (f": {loop.opinion}" if loop.opinion else ""))
            for step in skene.program.steps:
                if step.loop == loop.key:
                    _print_step(step, found.routes)
        say()
    for problem in found.problems:
        report(str(problem))
    if not found.problems and skene is not None:
        loops, steps = _count(len(skene.loops), "loop"), _count(len(skene.program.steps), "step")
        say(f"ok: {loops}, {steps}{_gated(found)}")


def _print_step(step: "CompiledStep", routes: Routes | None) -> None:
    say(f"  step {step.key}")
    for heading, words in describe_step(step):
        say(f"    {heading:<9} {words}")
    for number, (method, path) in enumerate((routes or {}).get(step.key, ())):
        say(f"    {'' if number else 'covers':<9} {method} {path}")


def _gated(found: Found) -> str:
    if found.routes is None:
        return "; --app module:app shows the routes they cover"
    return f", {_count(len({one for covered in found.routes.values() for one in covered}), 'gated route')}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _as_json(found: Found) -> dict[str, Any]:
    skene = found.skene
    loops = (
        []
        if skene is None
        else [
            {
                "loop": loop.key,
                "type": loop.type,
                "opinion": loop.opinion,
                "steps": _steps_as_json([s for s in skene.program.steps if s.loop == loop.key], found.routes),
            }
            for loop in skene.loops
        ]
    )
    problems = [_problem(one) for one in found.problems]
    return {"ok": not problems, "config": found.config, "loops": loops, "problems": problems}


def _steps_as_json(steps: Iterable["CompiledStep"], routes: Routes | None) -> Sequence[dict[str, Any]]:
    return [step_as_json(step, None if routes is None else routes.get(step.key, [])) for step in steps]


def _problem(problem: Problem) -> dict[str, Any]:
    """Each has a `message`; faults also say where, what was given, and what may be given."""
    fault, message = problem.what, scrub(str(problem))
    if isinstance(fault, str):
        return {"message": message}
    parts = {name: scrub(getattr(fault, name)) for name in ("path", "given", "allowed")}
    return {"message": message, **parts, "hint": fault.hint, "where": problem.where or None}
