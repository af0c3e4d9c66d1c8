"""Commands that give one subject more, or less, than its plan does."""

from typing import Annotated

import typer

from skene.cli.failing import CommandError, DebugOption, guarded
from skene.cli.finding import as_number
from skene.cli.loading import ConfigOption, load_skene
from skene.cli.output import examples, instant, say, shown_limit
from skene.cli.people import SubjectArgument, with_storage
from skene.cli.times import read_expiry
from skene.errors import MeterUnknown

__all__ = ["commands"]

commands = typer.Typer()
overrides = typer.Typer(name="override", help="Give single subjects other limits.", rich_markup_mode=None)
commands.add_typer(overrides)

MeterArgument = Annotated[
    str,
    typer.Argument(
        metavar="METER",
        help="As the condition names it; exports:/path for a route, exports@ada for a member.",
    ),
]
ExpiresOption = Annotated[
    str | None,
    typer.Option(metavar="WHEN", help="For how long, such as 30d, or until 2030-01-31; else for ever."),
]
ReasonOption = Annotated[str, typer.Option(metavar="TEXT", help="Why, for people who look.")]

_CODES = "no such meter, a bad number, duration or instant, or the database cannot be reached"


@commands.command(
    epilog=examples(
        "skene grant ada exports 500",
        'skene grant ada exports 500 --expires 30d --reason "sorry for Monday"',
        "skene grant ada exports 500 --expires 2030-01-31 --key welcome",
        codes=_CODES,
    )
)
@guarded
def grant(
    subject: SubjectArgument,
    meter: MeterArgument,
    units: Annotated[int, typer.Argument(metavar="UNITS", help="1 or more.")],
    expires: ExpiresOption = None,
    reason: ReasonOption = "",
    key: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The same key grants a subject once, for ever.")
    ] = None,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Grant a subject units on top of its plan, to be spent once."""
    skene = load_skene(config)
    ends = None if expires is None else read_expiry(expires, "--expires", skene.clock.now())
    try:
        made = with_storage(
            skene, lambda one: one.grant(subject, meter, units, expires=ends, reason=reason, key=key)
        )
    except (ValueError, MeterUnknown) as error:
        raise CommandError(str(error)) from error
    said = f"{units:,} units of {meter}"
    say(f"{subject}: {said} granted" if made else f"{subject}: was granted something under {key!r} before")


@overrides.callback(invoke_without_command=True)
def override(context: typer.Context) -> None:
    """Give single subjects other limits."""
    if context.invoked_subcommand is None:
        say(context.get_help())


@overrides.command(
    "set",
    epilog=examples(
        "skene override set ada exports 5000",
        'skene override set ada exports unlimited --expires 90d --reason "pilot"',
        codes=_CODES,
    ),
)
@guarded
def set_override(
    subject: SubjectArgument,
    meter: MeterArgument,
    limit: Annotated[str, typer.Argument(metavar="LIMIT", help="Units per window, or unlimited.")],
    expires: ExpiresOption = None,
    reason: ReasonOption = "",
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Give a subject another limit, whatever its plan. `skene usage` shows it, with the reason."""
    skene = load_skene(config)
    units = as_number(limit)
    until = None if expires is None else read_expiry(expires, "--expires", skene.clock.now())
    try:
        made = with_storage(
            skene, lambda one: one.override(subject, meter, units, expires=until, reason=reason)
        )
    except (ValueError, MeterUnknown) as error:
        raise CommandError(str(error)) from error
    ends = f", until {instant(made.expires_at)}" if made.expires_at else ""
    say(f"{subject}: the limit of {made.meter} is {shown_limit(made.limit)}{ends}")


@overrides.command("end", epilog=examples("skene override end ada exports", codes=_CODES))
@guarded
def end_override(
    subject: SubjectArgument, meter: MeterArgument, config: ConfigOption = None, debug: DebugOption = False
) -> None:
    """Take another limit back, so that the plan's holds again."""
    skene = load_skene(config)
    try:
        ended = with_storage(skene, lambda one: one.end_override(subject, meter))
    except MeterUnknown as error:
        raise CommandError(str(error)) from error
    if not ended:
        raise CommandError(f"{subject} has no other limit of {meter} that is in force")
    say(f"{subject}: the plan's limit of {meter} holds again")
