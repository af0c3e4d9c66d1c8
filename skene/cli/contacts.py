"""`skene unsubscribe` and `skene suppressions`: who must not be written to."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skene.cli.failing import CommandError, DebugOption, guarded
from skene.cli.finding import LimitOption, SubjectOption, say_more
from skene.cli.loading import ConfigOption, load_skene
from skene.cli.output import JsonOption, console, counted, examples, instant, print_json, say, table
from skene.cli.people import SubjectArgument, with_storage

if TYPE_CHECKING:
    from skene.ports.contacts import Suppression

__all__ = ["commands"]

commands = typer.Typer()
suppressions = typer.Typer(name="suppressions", rich_markup_mode=None)
commands.add_typer(suppressions)

_SHOWN = 12
"""How much of an address's digest a table shows."""


@commands.command(
    epilog=examples(
        "skene unsubscribe ada", "skene unsubscribe ada --undo", codes="the database cannot be reached"
    )
)
@guarded
def unsubscribe(
    subject: SubjectArgument,
    undo: Annotated[bool, typer.Option("--undo", help="Take it back.")] = False,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Send a subject no marketing mail any more. Transactional mail still goes out."""
    skene = load_skene(config)
    if undo:
        was = with_storage(skene, lambda one: one.resubscribe(subject))
        say(f"{subject}: {'subscribed again' if was else 'was not unsubscribed'}")
    else:
        new = with_storage(skene, lambda one: one.unsubscribe(subject, source="command"))
        say(f"{subject}: {'unsubscribed' if new else 'was unsubscribed already'}")


@suppressions.callback(
    invoke_without_command=True,
    epilog=examples(
        "skene suppressions",
        "skene suppressions --address ada@acme.test",
        "skene suppressions --subject ada --json",
        codes="no address, or the database cannot be reached",
    ),
)
@guarded
def show_suppressions(
    context: typer.Context,
    subject: SubjectOption = None,
    address: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="What is known of this e-mail address.")
    ] = None,
    limit: LimitOption = 100,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """See who is not written to, and why.

    Latest first: subjects who have unsubscribed, addresses that have bounced or complained. Addresses are
    kept as digests alone, so one can be looked up but not listed.
    """
    if context.invoked_subcommand is not None:
        return
    from skene.runtime.asks import stored

    skene = load_skene(config)
    who = None if subject is None else stored(subject)
    digest = None if address is None else _digest(address)
    rows = with_storage(
        skene, lambda one: one.storage.suppressions(subject=who, address=digest, limit=limit + 1)
    )
    shown, more = rows[:limit], len(rows) > limit
    if as_json:
        print_json({"suppressions": [_as_json(row) for row in shown], "more": more})
    elif shown:
        _print(shown, more=more)
    else:
        say("nothing is known of them" if who or digest else "everybody may be written to")


@suppressions.command(
    epilog=examples(
        "skene suppressions remove --address ada@acme.test",
        codes="nothing is known of the address, or the database cannot be reached",
    )
)
@guarded
def remove(
    address: Annotated[str, typer.Option(metavar="ADDRESS", help="The e-mail address.")],
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Write to an address again that has bounced or complained.

    Only when you know that it works, and that whoever reads there wants it. What a subject has
    unsubscribed from is taken back with `skene unsubscribe SUBJECT --undo`.
    """
    skene = load_skene(config)
    digest = _digest(address)
    found = with_storage(skene, lambda one: one.storage.unsuppress(address=digest))
    if not found:
        raise CommandError("nothing is known of this address, so it may be written to already")
    say(f"{counted(found, 'suppression')} removed")


def _digest(address: str) -> str:
    from skene.runtime.mailing import address_digest

    name, _, host = address.strip().rpartition("@")
    if not name or not host:
        raise CommandError(f"--address: got {address!r}; give an e-mail address such as ada@acme.test")
    return address_digest(address)


def _print(rows: Sequence["Suppression"], *, more: bool) -> None:
    columns = ("subject", "address", "why", "since", "source")
    cells = [
        [
            row.subject or "–",
            f"digest {row.address[:_SHOWN]}…" if row.address else "–",
            row.kind.value,
            instant(row.at),
            row.source,
        ]
        for row in rows
    ]
    console().print(table(columns, cells))
    if more:
        say_more(len(rows))


def _as_json(row: "Suppression") -> dict[str, Any]:
    return {
        "kind": row.kind.value,
        "subject": row.subject,
        "address_sha256": row.address,
        "since": row.at,
        "source": row.source,
    }
