"""All commands, put together. Each imports what it needs when it runs, so that help stays quick."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from skene.cli import (
    check,
    contacts,
    conversions,
    database,
    demo,
    diff,
    doctor,
    explain,
    granting,
    init,
    log,
    login,
    mail,
    outbox,
    people,
    prompts,
    reports,
    schema,
    simulate,
    sync,
    triggers,
    worker,
)
from skene.cli.failing import scrub
from skene.cli.output import examples, say

__all__ = ["app", "run", "triggers"]

_SETTINGS = {"help_option_names": ["-h", "--help"]}


class _Commands(TyperGroup):
    """Tells of arguments that do not fit, and of no key that was typed in the wrong place."""

    def make_context(self, *args: Any, **more: Any) -> Any:
        with _without_keys():
            return super().make_context(*args, **more)

    def invoke(self, *args: Any, **more: Any) -> Any:
        with _without_keys():
            return super().invoke(*args, **more)


@contextmanager
def _without_keys() -> Generator[None]:
    try:
        yield
    except Exception as error:
        said = getattr(error, "message", None)  # of the parser's own errors; their classes are not public
        if isinstance(said, str):
            setattr(error, "message", scrub(said))  # noqa: B010 - no class is known here that has it
        raise


app = typer.Typer(
    name="skene",
    cls=_Commands,
    help="Growth loops as code: usage limits, upgrade prompts, proven conversions.",
    epilog=examples("skene demo", "skene check --app app:app", "skene funnel --since 30d"),
    context_settings=_SETTINGS,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for group in (
    init.commands,
    doctor.commands,
    login.commands,
    prompts.commands,
    database.commands,
    worker.commands,
    check.commands,
    reports.commands,
    conversions.commands,
    explain.commands,
    diff.commands,
    log.commands,
    outbox.commands,
    people.commands,
    granting.commands,
    contacts.commands,
    sync.commands,
    schema.commands,
    simulate.commands,
    mail.commands,
    demo.commands,
):
    if group.info.name:
        app.add_typer(group)
    else:
        app.registered_commands += group.registered_commands
        app.registered_groups += group.registered_groups


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        say(f"skene {version('skene-sdk')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Growth loops as code: usage limits, upgrade prompts, proven conversions."""
    if context.invoked_subcommand is None:
        say(context.get_help())


def run() -> None:
    """Run the command that the process's arguments name."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")  # a terminal that knows no check marks is no reason to fail
    app(prog_name="skene")
