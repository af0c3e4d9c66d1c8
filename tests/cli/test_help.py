"""Every command explains itself."""

from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

from skene.cli.app import app
from tests.cli.project import Project


def paths(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path
        return
    if path and len(command.params) > 0:  # a group that does something by itself
        yield path
    for name, one in inner.items():
        yield from paths(one, (*path, name))


COMMANDS = sorted(paths(typer.main.get_command(app)))
DATA = {
    ("check",),
    ("conversions",),
    ("db", "current"),
    ("db", "triggers"),
    ("db", "upgrade"),
    ("diff",),
    ("doctor",),
    ("explain",),
    ("funnel",),
    ("init",),
    ("log",),
    ("login",),
    ("mail", "preview"),
    ("outbox", "list"),
    ("outbox", "show"),
    ("simulate",),
    ("suppressions",),
    ("sync",),
    ("usage",),
}


def test_these_are_the_commands() -> None:
    assert [" ".join(path) for path in COMMANDS] == [
        "check",
        "conversions",
        "db current",
        "db triggers",
        "db upgrade",
        "demo",
        "diff",
        "doctor",
        "explain",
        "forget",
        "funnel",
        "grant",
        "init",
        "link",
        "log",
        "login",
        "mail preview",
        "merge",
        "outbox discard",
        "outbox list",
        "outbox retry",
        "outbox show",
        "override end",
        "override set",
        "plan set",
        "prompt",
        "schema",
        "simulate",
        "suppressions",
        "suppressions remove",
        "sync",
        "unsubscribe",
        "usage",
        "worker",
    ]


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_has_an_example_and_the_exit_codes(path: tuple[str, ...], empty: Project) -> None:
    result = empty.run(*path, "--help")
    assert result.exit_code == 0
    assert f"    skene {' '.join(path)}" in result.stdout.partition("Examples:")[2]
    assert "[[" not in result.stdout.partition("\n")[0]  # brackets of our own beside those of the library
    codes = result.stdout.partition("Exit codes:")[2].splitlines()
    assert [line.split()[0] for line in codes if line.strip()][:3] == ["0", "1", "2"]
    assert "--debug" in result.stdout
    assert ("--json" in result.stdout) == (path in DATA)


def test_no_summary_is_cut_off(empty: Project) -> None:
    for args in ((), ("db",), ("mail",), ("outbox",), ("override",), ("plan",), ("suppressions", "--help")):
        assert "..." not in empty.run(*args).stdout.partition("Commands:")[2]
