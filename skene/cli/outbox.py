"""`skene outbox`: messages, and what a person decides about those that did not get through."""

import re
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skene.cli.failing import CommandError, DebugOption, guarded, report, scrub
from skene.cli.finding import LimitOption, LoopOption, SubjectOption, check_known_loop, read_choice, say_more
from skene.cli.loading import ConfigOption, load_skene
from skene.cli.output import JsonOption, console, counted, examples, instant, print_json, say, table
from skene.cli.people import with_storage

if TYPE_CHECKING:
    from pydantic import JsonValue

    from skene.ports.counters import Draft
    from skene.ports.notifier import Body
    from skene.ports.outbox import MessageRow, MessageState
    from skene.runtime.skene import Runtime

__all__ = ["commands"]

commands = typer.Typer(
    name="outbox", help="See messages, and try again or drop those that failed.", rich_markup_mode=None
)

AT_ONCE = 10_000
"""How many messages are retried in one go."""
_LONGEST = 200
_NONE = "–"
_LARGEST = 2**63 - 1
_TOKEN = re.compile(r"([?&;]token=)[^\s\"'<>&)\]]+")

IdsArgument = Annotated[
    list[int], typer.Argument(metavar="ID...", min=1, max=_LARGEST, help="Numbers of messages.")
]


@commands.callback(invoke_without_command=True)
def outbox(context: typer.Context) -> None:
    """See messages, and try again or drop those that failed."""
    if context.invoked_subcommand is None:
        say(context.get_help())


@commands.command(
    "list",
    epilog=examples(
        "skene outbox list",
        "skene outbox list --state dead --state parked",
        "skene outbox list --loop activation --subject ada --json",
        codes="no such state or loop, or the database cannot be reached",
    ),
)
@guarded
def list_messages(
    state: Annotated[
        list[str] | None, typer.Option(metavar="STATE", help="Only in this state. Repeatable.")
    ] = None,
    loop: LoopOption = None,
    subject: SubjectOption = None,
    limit: LimitOption = 100,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """List messages and what became of them, latest first."""
    from skene.ports.outbox import MessageState

    skene = load_skene(config)
    states = tuple(dict.fromkeys(read_choice(one, "--state", MessageState) for one in state or ()))
    rows = with_storage(
        skene, lambda one: one.outbox(states=states, loop=loop, subject=subject, limit=limit + 1)
    )
    if not rows:
        check_known_loop(skene, loop)
    shown, more = rows[:limit], len(rows) > limit
    if as_json:
        print_json({"messages": [_as_json(row) for row in shown], "more": more})
    elif shown:
        _print_table(shown, more=more)
    else:
        say("no messages" + (f" that are {' or '.join(states)}" if states else ""))


@commands.command(
    epilog=examples(
        "skene outbox show 12",
        "skene outbox show 12 --json",
        codes="there is no such message, or the database cannot be reached",
    )
)
@guarded
def show(
    message: Annotated[
        int, typer.Argument(metavar="ID", min=1, max=_LARGEST, help="The message's number, as in the list.")
    ],
    as_json: JsonOption = False,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Show one message: where it is, why, and what it says.

    Of a mail that is the text part. The tokens in its links are left out: whoever has one can use it.
    """
    skene = load_skene(config)
    found = with_storage(skene, lambda one: one.storage.outbox_row(message))
    if found is None:
        raise CommandError(f"there is no message {message}")
    row, body = found
    readable = None if body is None else _readable(row.draft, body)
    if as_json:
        print_json({**_as_json(row), "body": readable})
        return
    for name, words in _facts(row):
        say(f"{name:<10} {scrub(words)}")
    _print_body(readable)


@commands.command(
    epilog=examples(
        "skene outbox retry 12 13",
        "skene outbox retry --state dead --yes",
        codes="a message does not exist or cannot be retried (the others are), or not confirmed",
    )
)
@guarded
def retry(
    messages: Annotated[
        list[int] | None,
        typer.Argument(metavar="ID...", min=1, max=_LARGEST, help="Numbers of messages."),
    ] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(metavar="STATE", help="All in this state instead: dead or parked. Repeatable."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Make messages due at once.

    Those that are dead, parked, skipped, cancelled, or wait. They begin afresh, under the same key and with
    the same content. A parked message may have arrived already.
    """
    from skene.ports.outbox import MessageState

    if bool(messages) == bool(state):
        raise typer.BadParameter("give numbers of messages, or --state dead or parked; not both")
    skene = load_skene(config)
    allowed = (MessageState.DEAD, MessageState.PARKED)
    states = tuple(dict.fromkeys(read_choice(one, "--state", allowed) for one in state or ()))

    async def run(one: "Runtime") -> bool:
        ids = list(dict.fromkeys(messages or ())) or await _in_states(one, states, sure=yes)
        return await _each(one, ids, one.storage.retry_message, "due again", "retried")

    if not with_storage(skene, run):
        raise typer.Exit(1)


@commands.command(
    epilog=examples(
        "skene outbox discard 12 13",
        'skene outbox discard 12 --reason "the address is wrong"',
        codes="a message does not exist or cannot be discarded; the others are discarded",
    )
)
@guarded
def discard(
    messages: IdsArgument,
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="Why, for people who look at it later.")
    ] = "discarded by hand",
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Settle messages as cancelled, so that they are not sent. `skene outbox retry` takes it back."""
    why = reason.strip()
    if not why or len(why) > _LONGEST or not why.isprintable():
        raise CommandError(f"--reason: give one line of 1 to {_LONGEST} characters")
    skene = load_skene(config)

    async def run(one: "Runtime") -> bool:
        drop = partial(one.storage.discard_message, reason=why)
        return await _each(one, list(dict.fromkeys(messages)), drop, "cancelled", "discarded")

    if not with_storage(skene, run):
        raise typer.Exit(1)


async def _in_states(skene: "Runtime", states: tuple["MessageState", ...], *, sure: bool) -> list[int]:
    """The messages in some states, once a person has agreed."""
    rows = await skene.outbox(states=states, limit=AT_ONCE)
    if rows and not sure:
        risk = " A parked one may have arrived already." if "parked" in states else ""
        which = " or ".join(states)
        typer.confirm(
            f"Try {counted(len(rows), 'message')} again that {_are(len(rows))} {which}?{risk}", abort=True
        )
    if len(rows) == AT_ONCE:
        say(f"these are the latest {AT_ONCE:,}; run it again for the rest")
    return [row.id for row in rows]


async def _each(
    skene: "Runtime", ids: Sequence[int], work: Callable[[int], Awaitable[bool]], result: str, verb: str
) -> bool:
    """Do something to each message; what cannot be done is reported and stops none of the others."""
    done = 0
    for number in ids:
        if await work(number):
            done += 1
        else:
            report(await _why_not(skene, number, verb))
    say(f"{counted(done, 'message')} {result}")
    return done == len(ids)


async def _why_not(skene: "Runtime", number: int, verb: str) -> str:
    found = await skene.storage.outbox_row(number)
    if found is None:
        return f"there is no message {number}"
    state = found[0].state
    held = "in a worker's hands" if state == "claimed" else state
    return f"message {number} is {held} and cannot be {verb}"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


# -- words -------------------------------------------------------------------------------------------------


def _print_table(rows: Sequence["MessageRow"], *, more: bool) -> None:
    columns = ("id", "state", "step", "subject", "what", "when", "failures", "reason")
    cells = [
        [
            str(row.id),
            row.state.value,
            row.draft.step or _NONE,
            row.draft.subject or _NONE,
            _what(row),
            _when(row),
            str(row.failures),
            scrub(row.reason or ""),
        ]
        for row in rows
    ]
    console().print(table(columns, cells, numbers=("id", "failures")))
    if more:
        say_more(len(rows))


def _what(row: "MessageRow") -> str:
    draft = row.draft
    if draft.kind in ("grant", "function"):
        return draft.kind
    if draft.kind == "usage":
        return f"usage {draft.template}"
    if draft.kind == "event":
        return f"event {draft.template}"
    return f"{'webhook' if draft.kind == 'webhook' else 'e-mail'} {draft.template}"


def _when(row: "MessageRow") -> str:
    return f"due {instant(row.due_at)}" if row.settled_at is None else instant(row.settled_at)


def _facts(row: "MessageRow") -> list[tuple[str, str]]:
    """All that is known of a message besides its content, as headings and words."""
    draft = row.draft
    facts = [
        ("message", str(row.id)),
        ("state", row.state.value),
        ("reason", row.reason or "–"),
        ("what", _what(row) + (f" through {draft.channel}" if draft.channel else "")),
        ("for", f"{draft.subject}, on the plan {draft.plan}" if draft.plan else draft.subject or _NONE),
        ("step", draft.step or _NONE),
        ("written", instant(row.created_at)),
        ("due", instant(row.due_at) if row.due_at else "–"),
        ("settled", instant(row.settled_at) if row.settled_at else "–"),
        ("failures", f"{row.failures} of its attempts failed"),
        ("key", draft.key),
    ]
    if draft.is_mail:
        kind = "marketing: caps, quiet hours and unsubscribing apply" if draft.marketing else "transactional"
        facts.insert(4, ("kind", kind))
    optional = (("provider", row.provider_id), ("wall", draft.wall), ("journey", draft.journey))
    return facts + [(name, value) for name, value in optional if value]


def _as_json(row: "MessageRow") -> dict[str, Any]:
    draft = row.draft
    names = ("key", "kind", "loop", "step", "subject", "plan", "channel", "template", "wall", "journey")
    return {
        "id": row.id,
        "state": row.state.value,
        "reason": scrub(row.reason) if row.reason else None,
        "failures": row.failures,
        "due_at": row.due_at,
        "created_at": row.created_at,
        "settled_at": row.settled_at,
        "provider_id": row.provider_id,
        **{name: getattr(draft, name) for name in names},
        "marketing": draft.marketing,
        "cancel_on_upgrade": draft.cancel_on_upgrade,
    }


def _readable(draft: "Draft", body: "Body") -> "Body":
    """The part of a frozen body that people read, without what would let them act in the subject's name."""
    wanted = ("from", "to", "reply_to", "subject", "text", "template") if draft.is_mail else tuple(body)
    return {name: _hidden(body[name]) for name in wanted if name in body}


def _hidden(value: "JsonValue") -> "JsonValue":
    if isinstance(value, str):
        return _TOKEN.sub(r"\1…", scrub(value))
    if isinstance(value, list):
        return [_hidden(one) for one in value]
    if isinstance(value, dict):
        return {name: _hidden(one) for name, one in value.items()}
    return value


def _print_body(body: "Body | None") -> None:
    say()
    if body is None:
        say("What it says is made at the first attempt.")
        return
    if "text" not in body:
        print_json(body)
        return
    for heading, name in (("From", "from"), ("To", "to"), ("Reply-To", "reply_to"), ("Subject", "subject")):
        if name in body:
            value = body[name]
            several = value if isinstance(value, list) else [value]
            say(f"{heading}: {', '.join(map(str, several))}")
    say(f"\n{body['text']}")
