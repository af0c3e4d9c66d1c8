"""`skene login`: keys, checked before they are kept."""

import os
import sys
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skene.cli.failing import CommandError, DebugOption, guarded
from skene.cli.output import JsonOption, console, examples, money, print_json, say, table

if TYPE_CHECKING:
    from skene.adapters.stripe.survey import Priced
    from skene.cli.login.services import Answer, Question

__all__ = ["commands"]

commands = typer.Typer()

_SERVICES = ("stripe", "resend")
_LONGEST = 100_000


@commands.command(
    epilog=examples(
        "skene login stripe",
        "skene login resend --keyring",
        "skene login stripe --stdin --json < keys.env",
        codes="a key cannot be right or is refused, the service cannot be reached, or nothing can be written",
    )
)
@guarded
def login(
    service: Annotated[
        list[str] | None, typer.Argument(metavar="SERVICE", help="stripe, resend; without any, both.")
    ] = None,
    stdin: Annotated[
        bool, typer.Option("--stdin", help="Read NAME=value lines from standard input, and ask nothing.")
    ] = False,
    keyring: Annotated[
        bool,
        typer.Option("--keyring", help="Keep secrets in the system's keyring (extra: keyring), not in .env."),
    ] = False,
    env_file: Annotated[Path, typer.Option(metavar="PATH", help="Where variables are kept.")] = Path(".env"),
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Check keys of Stripe and Resend, and keep them.

    They are typed unseen, never given as arguments, and never shown again.
    """
    from skene.cli import terminal
    from skene.cli.dotenv import read_values
    from skene.cli.login.services import QUESTIONS

    services = _services(service or [])
    if not stdin and not terminal.has_terminal():
        raise terminal.needs_terminal("keys are typed at a terminal", "give --stdin and NAME=value lines")
    lines = _from_stdin() if stdin else {}
    known = {**read_values(env_file), **os.environ}
    given: dict[str, str] = {}
    answers: dict[str, Answer] = {}
    for name in services:
        wanted = QUESTIONS[name]
        found = _given(wanted, lines, known) if stdin else _asked(name, wanted, known)
        answers[name] = _check(name, found, known)
        given |= found
    _keep(given, env_file, keyring=keyring)
    where = f"the keyring, named in {env_file}" if keyring else str(env_file)
    if as_json:
        print_json(
            {"stored": sorted(given), "in": where, **{name: _json(one) for name, one in answers.items()}}
        )
    else:
        for one in answers.values():
            _show(one)
        say(f"stored in {where}: {', '.join(sorted(given))}")


def _services(given: Sequence[str]) -> list[str]:
    wanted: list[str] = []
    for one in given:
        if one.lower() not in _SERVICES:
            # Whatever it is, it may be a key: it is not said again.
            raise typer.BadParameter(
                f"give {' or '.join(_SERVICES)}. A key on the command line is seen by others "
                "(the shell's history, `ps`): if this was one, roll it"
            )
        wanted.append(one.lower())
    return list(dict.fromkeys(wanted or _SERVICES))


def _from_stdin() -> dict[str, str]:
    from dotenv import dotenv_values

    text = sys.stdin.read(_LONGEST + 1)
    if len(text) > _LONGEST:
        raise CommandError(f"--stdin: got more than {_LONGEST:,} characters; give NAME=value lines")
    found = dotenv_values(stream=StringIO(text), interpolate=False)
    return {name: value.strip() for name, value in found.items() if value is not None}


def _given(
    wanted: "Sequence[Question]", lines: Mapping[str, str], known: Mapping[str, str]
) -> dict[str, str]:
    found = {one.name: lines.get(one.name) or known.get(one.name, "") for one in wanted}
    missing = [one.name for one in wanted if not found[one.name] and not one.optional]
    if missing:
        example = "\n".join(f"  {name}=…" for name in missing)
        raise CommandError(f"--stdin: there is no {' and no '.join(missing)}; give lines such as\n{example}")
    return {name: value for name, value in found.items() if value}


def _asked(service: str, wanted: "Sequence[Question]", known: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    typer.echo(f"{service.title()}:", err=True)
    for one in wanted:
        there = known.get(one.name, "")
        keep = " [Enter keeps the one that is set]" if there else " [Enter for none]" if one.optional else ""
        default = "" if there or one.optional else None
        typed = typer.prompt(
            f"  {one.words}{keep}", hide_input=one.secret, default=default, show_default=False, err=True
        )
        if value := str(typed).strip() or there:
            found[one.name] = value
    return found


def _check(service: str, found: Mapping[str, str], known: Mapping[str, str]) -> "Answer":
    from skene.cli.login.services import check_resend, check_stripe

    if service == "stripe":
        return check_stripe(found, known.get("STRIPE_API_BASE") or None)
    return check_resend(found, known.get("RESEND_API_URL") or None)


def _keep(given: Mapping[str, str], env_file: Path, *, keyring: bool) -> None:
    from skene.cli.dotenv import set_values
    from skene.wiring import SECRETS

    if not keyring:
        set_values(env_file, given)
        return
    from skene.adapters.keyring import write_secrets

    service = f"skene:{Path.cwd().name}"
    write_secrets(service, {name: value for name, value in given.items() if name in SECRETS})
    others = {name: value for name, value in given.items() if name not in SECRETS}
    set_values(env_file, {**others, "SKENE_KEYRING": service})


def _show(answer: "Answer") -> None:
    for line in answer.lines:
        say(line)
    if answer.prices:
        columns = ["product", "price", "costs", "lookup key", "product id"]
        rows = [
            [one.name or "–", one.price, _costs(one), one.lookup_key or "–", one.product]
            for one in answer.prices
        ]
        console().print(table(columns, rows))
        say("choose what each is worth, in skene_config.py:")
        chosen = ", ".join(f'"{one.price}": "paid"' for one in answer.prices if one.interval)
        say(
            f"  Skene.from_env(…, plans={{{chosen}}})"
            if chosen
            else "  none of them recurs; only such can be plans"
        )
    for warning in answer.warnings:
        typer.echo(f"warning: {warning}", err=True)


def _costs(one: "Priced") -> str:
    cost = "by use or tier" if one.amount is None else money([(one.currency, one.amount)])
    return f"{cost} a {one.interval}" if one.interval else f"{cost} once"


def _json(answer: "Answer") -> dict[str, object]:
    from dataclasses import asdict

    return {
        "mode": answer.mode,
        "prices": [asdict(one) for one in answer.prices],
        "missing_permissions": list(answer.missing),
        "warnings": answer.warnings,
    }
