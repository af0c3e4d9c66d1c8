"""Finds the app that is gated, and its gate."""

from typing import TYPE_CHECKING, Annotated

import typer

from skene.cli.loading import LoadError, load_object

if TYPE_CHECKING:
    from fastapi import FastAPI

    from skene.fastapi import Gate

__all__ = ["AppOption", "load_gate"]

AppOption = Annotated[
    str | None,
    typer.Option("--app", metavar="MODULE:NAME", help="Your FastAPI app, to see which routes are gated."),
]


def load_gate(where: str) -> "tuple[str, FastAPI, Gate]":
    """The app that `--app` names, where it is, and the gate that is installed on it.

    Raises:
        LoadError: it is not there or does not load, is no app, or has no gate.
    """
    from fastapi import FastAPI

    from skene.fastapi import Gate

    place, app = load_object(where, "--app", "app")
    if not isinstance(app, FastAPI):
        hint = "; call it first" if callable(app) and not isinstance(app, type) else ""
        raise LoadError(f"--app: {place} is a {type(app).__name__}; it must be a FastAPI app{hint}")
    gate = getattr(app.state, "skene_gate", None)
    if not isinstance(gate, Gate):
        raise LoadError(f"--app: {place} has no gate; call gate.install(app)")
    return place, app, gate
