"""Questions at the terminal, asked only where somebody sits who can answer."""

import sys
from collections.abc import Sequence
from typing import TypeVar

import typer

__all__ = ["choose", "confirm", "has_terminal", "needs_terminal"]

T = TypeVar("T")


def has_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def needs_terminal(question: str, instead: str) -> typer.BadParameter:
    """What to raise where a question stays open: exit code 2.

    Args:
        question: what is not known.
        instead: what to give on the command line.
    """
    return typer.BadParameter(f"{question}, and there is no terminal to ask at; {instead}")


def confirm(question: str, *, default: bool) -> bool:
    """Yes or no."""
    return typer.confirm(question, default=default, err=True)


def choose(
    question: str, choices: Sequence[T], *, default: Sequence[int] = (), several: bool = False
) -> list[T]:
    """One, or several, of a numbered list.

    Args:
        question: above the list.
        choices: shown as their `str`.
        default: the positions that Enter takes, from 0.
        several: numbers with commas, or `none`.
    """
    typer.echo(question, err=True)
    for number, one in enumerate(choices, 1):
        typer.echo(f"  {number:>2}  {one}", err=True)
    prompt = "numbers, with commas (none for none)" if several else "number"
    shown = ",".join(str(one + 1) for one in default) or ("none" if several else None)
    while True:
        given = typer.prompt(prompt, default=shown, err=True).strip()
        if several and given.lower() == "none":
            return []
        parts = [part.strip() for part in given.split(",")]
        if all(part.isdecimal() and 1 <= int(part) <= len(choices) for part in parts) and (
            several or len(parts) == 1
        ):
            return [choices[int(part) - 1] for part in dict.fromkeys(parts)]
        typer.echo(f"got {given!r}; give {prompt} from 1 to {len(choices)}", err=True)
