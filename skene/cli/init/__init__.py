"""`skene init`: from an app to a gated one."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skene.cli.failing import DebugOption, guarded, report, scrub
from skene.cli.output import JsonOption, counted, examples, print_json, say

if TYPE_CHECKING:
    from skene.cli.init.planning import Plan

__all__ = ["commands"]

commands = typer.Typer()

_CHECK_SECONDS = 120
_WORDS = {"create": "new", "edit": "lines added", "overwrite": "there, and different", "keep": "as it is"}


@commands.command(
    epilog=examples(
        "skene init",
        "skene init --pattern reverse-trial --dry-run",
        'skene init --yes --app shop.main:app --route "POST /reports"',
        codes="there is no app, a file cannot be written, or `skene check` finds problems in the result",
    )
)
@guarded
def init(
    pattern: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="freemium, activation, retention or reverse-trial; else it is asked."
        ),
    ] = None,
    app: Annotated[
        str | None, typer.Option(metavar="MODULE:NAME", help="Your FastAPI app, if there are several.")
    ] = None,
    route: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'METHOD /PATH'", help="A route to gate, in place of what is proposed. Repeatable."
        ),
    ] = None,
    subject: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:NAME", help="The dependency that says who calls, if the wrong one is found."
        ),
    ] = None,
    agents_md: Annotated[
        bool, typer.Option("--agents-md", help="Write AGENTS.md as well: what assistants should know.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask: take what is proposed.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show everything, write nothing.")] = False,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Run `skene check` on the result; it imports your app.")
    ] = True,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Put skene into the FastAPI app in this folder.

    Reads your source without running it, shows what it would write, and asks before it does.
    What is there already is never overwritten without a question.
    """
    from skene.cli.init.looking import look
    from skene.cli.init.planning import make_plan, write

    ask = _asks(yes or dry_run, as_json)
    folder = Path.cwd()
    seen = look(folder, app=app, pattern=pattern, chosen=route or [], subject=subject, ask=ask)
    plan = make_plan(folder, seen, agents=agents_md)
    if not as_json:
        _show(plan)
    if ask:
        plan = _agreed(plan)
    written = [] if dry_run else write(folder, plan)
    checked = _checked(folder, plan) if check and not dry_run else None
    if as_json:
        print_json(_as_json(plan, written, checked))
    else:
        _tell(plan, written, checked, dry_run=dry_run)
    if checked:
        raise typer.Exit(1)


def _asks(agreed: bool, as_json: bool) -> bool:
    """Whether there is somebody to ask."""
    from skene.cli import terminal

    if as_json and not agreed:
        raise typer.BadParameter("--json asks no questions; give --yes or --dry-run as well")
    if not agreed and not terminal.has_terminal():
        raise terminal.needs_terminal(
            "nobody has agreed to the changes", "give --yes, or --dry-run to see them"
        )
    return not agreed


def _show(plan: "Plan") -> None:
    found = plan.found
    say(f"app       {plan.shown_app}, {found.app.path}, {counted(len(found.routes), 'route')}")
    say(f"caller    {found.caller or 'not found'}")
    if found.limited:
        say(f"gated     {', '.join(f'{method} {path}' for method, path in found.triggers) or 'no route yet'}")
        for one in found.chosen if found.triggers != [(one.method, one.path) for one in found.chosen] else ():
            say(f"          {one}")
    say(f"users     {f'{found.users.module}:{found.users.name}' if found.users else 'no table found'}")
    say(f"database  {found.settings.database or 'none found: skene.db, an SQLite file'}")
    keys = ", ".join(f"{name} ({mode})" for name, mode in found.settings.stripe.items())
    say(f"stripe    {keys or 'no key'}; {counted(len(found.settings.prices), 'price')}")
    for note in plan.notes:
        say(f"note      {scrub(note)}")
    say()
    for change in plan.changes:
        say(f"{change.path}: {_WORDS[change.kind]}")
    for change in plan.changes:
        if change.kind in ("edit", "overwrite"):
            say(f"\n{scrub(change.diff())}".rstrip())
    say()


def _agreed(plan: "Plan") -> "Plan":
    """Ask about what would be overwritten, then about everything."""
    from skene.cli import terminal

    for one in plan.differing:
        if terminal.confirm(f"{one.path} is there and differs. Overwrite it?", default=False):
            plan = plan.overwriting(one.path)
    if plan.to_write and not terminal.confirm("Write these files?", default=True):
        raise typer.Abort
    return plan


def _checked(folder: Path, plan: "Plan") -> list[str] | None:
    """What `skene check` says of the result, in a process of its own: it imports the app.

    Returns:
        The problems, none if all is well; None if it cannot be asked.
    """
    served = plan.found.served
    words = [sys.executable, "-c", "from skene.cli import main; main()", "check", "--json"]
    words += ["--config", plan.config]
    words += ["--app", ":".join(served)] if served is not None else []
    roots = [str(folder / plan.root)] if plan.root else []
    path = os.pathsep.join([*roots, *filter(None, [os.environ.get("PYTHONPATH")])])
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **({"PYTHONPATH": path} if path else {})}
    ended = None
    try:
        ended = subprocess.run(  # noqa: S603 - this interpreter, and names that were read from the project's own files
            words, cwd=folder, env=env, capture_output=True, text=True, timeout=_CHECK_SECONDS, check=False
        )
        said: dict[str, Any] = json.loads(ended.stdout)
        return [str(one["message"]) for one in said["problems"]]
    except subprocess.TimeoutExpired:
        return [f"importing the app took longer than {_CHECK_SECONDS} seconds"]
    except (ValueError, KeyError):
        told = ended.stderr.strip().splitlines() if ended is not None else []
        return [told[-1] if told else "the check ended without a word"]


def _tell(plan: "Plan", written: list[str], checked: list[str] | None, *, dry_run: bool) -> None:
    if dry_run:
        say("nothing was written (--dry-run)")
        return
    say(f"written: {', '.join(written)}" if written else "nothing to do: everything is there already")
    for one in plan.differing:
        say(f"kept: {one.path} is there and differs from what would be written")
    if checked:
        for problem in checked:
            report(f"skene check: {problem}")
        return
    if checked is not None:
        say("skene check: ok")
    say("\nnext:")
    for step in plan.next_steps():
        say(f"  {step}")


def _as_json(plan: "Plan", written: list[str], checked: list[str] | None) -> dict[str, Any]:
    found = plan.found
    return {
        "app": plan.shown_app,
        "file": found.app.path,
        "pattern": found.pattern,
        "caller": None if found.caller is None else str(found.caller),
        "routes": [
            {"method": one.method, "path": one.path, "gated": one in found.chosen} for one in found.routes
        ],
        "triggers": [{"method": method, "endpoint": path} for method, path in found.triggers],
        "users": None if found.users is None else f"{found.users.module}:{found.users.name}",
        "database": found.settings.database,
        "stripe": dict(found.settings.stripe),
        "prices": list(found.settings.prices),
        "config": plan.config,
        "notes": [scrub(note) for note in plan.notes],
        "files": [{"path": one.path, "change": one.kind, "diff": scrub(one.diff())} for one in plan.changes],
        "written": written,
        "problems": checked,
        "next": plan.next_steps(),
    }
