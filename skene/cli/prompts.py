"""`skene prompt`: what to tell a coding assistant."""

import re
from importlib.resources import files
from typing import Annotated

import typer

from skene.cli.failing import DebugOption, guarded
from skene.cli.output import examples, say

__all__ = ["agents_md", "commands"]

commands = typer.Typer()

BEGIN, END = "<!-- skene: begin -->", "<!-- skene: end -->"


@commands.command(
    epilog=examples("skene prompt", "skene prompt | pbcopy", "skene prompt --agents-md > AGENTS.md"),
)
@guarded
def prompt(
    agents: Annotated[
        bool, typer.Option("--agents-md", help="Print what belongs into the project's AGENTS.md instead.")
    ] = False,
    config: Annotated[
        str, typer.Option(metavar="MODULE:NAME", help="Where the Skene is; for AGENTS.md.")
    ] = "skene_config:skene",
    app: Annotated[
        str, typer.Option(metavar="MODULE:NAME", help="Where the app is; for AGENTS.md.")
    ] = "app:app",
    debug: DebugOption = False,
) -> None:
    """Print instructions that let a coding assistant install skene.

    They need no network, and name no key.
    """
    text = (
        agents_md("", config=_place(config, "--config"), app=_place(app, "--app"))
        if agents
        else _text("prompt.md")
    )
    say(text.rstrip("\n"))


def agents_md(there: str, *, config: str, app: str) -> str:
    """AGENTS.md with skene's part in it, between two marks; everything else stays.

    Args:
        there: its text; empty if there is none.
        config, app: where they are, as `module:name`.
    """
    part = f"{BEGIN}\n{_text('agents.md').format(config=config, app=app)}{END}\n"
    before, found, rest = there.partition(f"{BEGIN}\n")
    if found and f"{END}\n" in rest:
        return before + part + rest.partition(f"{END}\n")[2]
    gap = "" if not there else "\n" if there.endswith("\n") else "\n\n"
    return there + gap + part


def _place(text: str, option: str) -> str:
    if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", text):
        return text
    raise typer.BadParameter(f"{option}: got {text!r}; give module:name such as skene_config:skene")


def _text(name: str) -> str:
    return files("skene.cli").joinpath("texts", name).read_text("utf-8")
