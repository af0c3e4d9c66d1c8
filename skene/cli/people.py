"""Commands about one person: their plan, their customer record, their right to be forgotten."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import anyio
import typer

from skene.cli.failing import CommandError, DebugOption, guarded
from skene.cli.loading import ConfigOption, load_skene
from skene.cli.output import counted, examples, instant, say
from skene.cli.times import read_future

if TYPE_CHECKING:
    from skene.runtime.skene import Runtime

__all__ = ["SubjectArgument", "commands", "with_storage"]

T = TypeVar("T")

commands = typer.Typer()
plans = typer.Typer(name="plan", help="Set plans by hand.", rich_markup_mode=None)
commands.add_typer(plans)

SubjectArgument = Annotated[str, typer.Argument(metavar="SUBJECT", help="The id, as your app names it.")]


def with_storage(skene: "Runtime", work: Callable[["Runtime"], Awaitable[T]]) -> T:
    """Run something against the open storage. The rest of the configuration need not be in order for it."""

    async def run() -> T:
        try:
            await skene.storage.start()
            return await work(skene)
        finally:
            await skene.aclose()

    return anyio.run(run)


@plans.callback(invoke_without_command=True)
def plan(context: typer.Context) -> None:
    """Set plans by hand."""
    if context.invoked_subcommand is None:
        say(context.get_help())


@plans.command(
    "set",
    epilog=examples(
        "skene plan set ada paid",
        "skene plan set ada paid --until 30d",
        "skene plan set ada paid --until 2030-01-31T00:00Z",
        codes="no such plan, a bad instant, or the database cannot be reached",
    ),
)
@guarded
def set_plan(
    subject: SubjectArgument,
    name: Annotated[str, typer.Argument(metavar="PLAN", help="A plan that your limits know.")],
    until: Annotated[
        str | None,
        typer.Option(
            metavar="WHEN", help="When it ends: 30d from now, or 2030-01-31 (UTC if no zone is given)."
        ),
    ] = None,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Put a subject on a plan by hand. What your billing service says of a linked customer replaces it."""
    skene = load_skene(config)
    ends = read_future(until, "--until", skene.clock.now()) if until is not None else None
    try:
        applied = with_storage(skene, lambda one: one.set_plan(subject, name, until=ends))
    except ValueError as error:
        raise CommandError(str(error)) from error
    say(f"{subject}: {applied.before} → {applied.after}" + (f", until {instant(ends)}" if ends else ""))
    if applied.converted:
        say("recorded as a conversion" + (" after a refusal" if applied.wall else ""))


@commands.command(
    epilog=examples(
        "skene link ada cus_123",
        codes="no such customer, billing or the database cannot be reached, or plans are set by hand",
    )
)
@guarded
def link(
    subject: SubjectArgument,
    customer: Annotated[
        str, typer.Argument(metavar="CUSTOMER", help="The billing service's id, e.g. cus_123.")
    ],
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Tie a subject to a customer of the billing service.

    From then on the subject holds what that customer pays for.
    """
    from skene.adapters.manual import ManualBilling

    skene = load_skene(config)
    if isinstance(skene.billing, ManualBilling):
        raise CommandError("plans are set by hand here, there are no customers; use `skene plan set`")

    async def tie(one: "Runtime") -> None:
        missing = CommandError(f"the billing service has no customer {customer!r}; nothing was tied")
        try:
            if (await one.billing.fetch(customer)).deleted:
                raise missing
        except LookupError:
            raise missing from None
        applied = await one.link(subject, customer)
        if applied is None:
            raise CommandError(
                f"customer {customer!r} belongs to somebody who was forgotten; nothing was taken over"
            )
        say(f"{subject} is customer {customer}, on the plan {applied.after}")

    with_storage(skene, tie)


@commands.command(
    epilog=examples(
        "skene merge visitor-7f3a ada",
        "skene merge visitor-7f3a ada --yes",
        codes="not confirmed, the two are one already, or the database cannot be reached",
    )
)
@guarded
def merge(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="The id that was counted so far.")],
    target: Annotated[str, typer.Argument(metavar="TARGET", help="Who it turned out to be.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Make an anonymous subject a known one.

    Usage, grants, walls and plan become the target's. Calls by the old id count for the target from then on.
    This cannot be undone.
    """
    skene = load_skene(config)
    if not yes:
        typer.confirm(f"Make everything of {source!r} {target!r}'s? This cannot be undone.", abort=True)
    try:
        merged = with_storage(skene, lambda one: one.merge(source, target))
    except ValueError as error:
        raise CommandError(str(error)) from error
    say(f"{source} counts as {merged.subject}: {counted(merged.moved, 'row')} moved")
    if merged.untied is not None:
        say(f"customer {merged.untied} is tied to nobody now, and may still pay; {merged.customer} stays")


@commands.command(
    epilog=examples(
        "skene forget ada", "skene forget ada --yes", codes="not confirmed, or the database cannot be reached"
    )
)
@guarded
def forget(
    subject: SubjectArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Erase a person: counters, messages, billing record.

    Walls and conversions stay, under no name.

    This cannot be undone, and a webhook that comes later does not bring the person back.
    """
    skene = load_skene(config)
    if not yes:
        typer.confirm(f"Erase everything about {subject!r}? This cannot be undone.", abort=True)
    rows = with_storage(skene, lambda one: one.forget(subject))
    say(f"{subject}: {counted(rows, 'row')} erased or made anonymous")
