"""`skene db triggers`: what loops want to hear of the database's rows."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import anyio
import typer

from skene.cli.database import commands
from skene.cli.failing import CommandError, DebugOption, guarded
from skene.cli.loading import ConfigOption, load_skene
from skene.cli.output import JsonOption, examples, print_json, say

if TYPE_CHECKING:
    from skene.engine.rowtrigger import RowTrigger
    from skene.ports.storage import Storage
    from skene.ports.triggers import Changes, RowTriggers

__all__ = ["triggers"]


@commands.command(
    epilog=examples(
        "skene db triggers",
        "skene db triggers --sql > triggers.sql",
        "skene db triggers --install",
        codes="a trigger is missing, or it did not work; standard error says why",
    )
)
@guarded
def triggers(
    sql: Annotated[bool, typer.Option("--sql", help="Print the SQL that creates them.")] = False,
    install: Annotated[
        bool, typer.Option("--install", help="See to it that exactly those of your loops are there.")
    ] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Remove all of skene's.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Show, install or remove the triggers of your loops.

    They write what happens to the rows of your tables into skene's, in the same transaction. Without an
    option: which of them are there. Safe to repeat, and to run from several machines at once.
    """
    if sql + install + remove > 1:
        raise CommandError("give one of --sql, --install and --remove")
    skene = load_skene(config)
    wanted = skene.program.reactions.row_triggers
    action = "sql" if sql else "install" if install else "remove" if remove else ""
    anyio.run(_act, skene.storage, wanted, action, as_json)


async def _act(storage: "Storage", wanted: "Sequence[RowTrigger]", action: str, as_json: bool) -> None:
    ours: RowTriggers | None = getattr(storage, "triggers", None)
    try:
        if ours is None:
            raise CommandError(f"{storage!r} has no tables that could have triggers")
        if action == "sql":
            text = await ours.sql(wanted)
            if as_json:
                print_json({"sql": text})
            else:
                say(text.rstrip("\n"))
        elif action == "install":
            _show_changes(storage, await ours.install(wanted), as_json=as_json)
        elif action == "remove":
            names = await ours.remove()
            _show_removed(storage, names, as_json=as_json)
        else:
            await _show(storage, ours, wanted, as_json=as_json)
    finally:
        await storage.aclose()


def _show_changes(storage: "Storage", changes: "Changes", *, as_json: bool) -> None:
    kinds = {"created": changes.created, "replaced": changes.replaced, "removed": changes.removed}
    if as_json:
        print_json(kinds)
        return
    done = [f"{kind} {', '.join(names)}" for kind, names in kinds.items() if names]
    say(f"{storage!r}: {'; '.join(done) or 'nothing to do'}")


def _show_removed(storage: "Storage", names: tuple[str, ...], *, as_json: bool) -> None:
    if as_json:
        print_json({"removed": names})
    else:
        say(f"{storage!r}: " + (f"removed {', '.join(names)}" if names else "there were none"))


async def _show(
    storage: "Storage", ours: "RowTriggers", wanted: "Sequence[RowTrigger]", *, as_json: bool
) -> None:
    missing = await ours.missing(wanted)
    if as_json:
        shown = [{"step": one.step, "table": one.table, "event": one.event} for one in missing]
        print_json({"installed": await ours.installed(), "missing": shown})
    elif not wanted:
        say("no loop has a database trigger")
    for one in () if as_json else wanted:
        state = "missing or outdated" if one in missing else "installed"
        say(f"{one.step}: {one.event} on {one.table}: {state}")
    if missing:
        if not as_json:
            say("run `skene db triggers --install`")
        raise typer.Exit(1)
