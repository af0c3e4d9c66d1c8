"""What only wiring can show: found at start-up, before the first request."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import cast
from urllib.parse import urlsplit

from skene.definitions import EmailAction, Fault, QueryCondition, WebhookAction, WebhookTrigger
from skene.definitions.faults import describe, nearest
from skene.definitions.sql import read_select
from skene.engine.program import CompiledStep, Program
from skene.engine.reactions import Reaction, parts_of
from skene.engine.rowtrigger import RowTrigger
from skene.errors import ConfigurationError, QueryError, QueryRefused, StorageError, StorageUnavailable
from skene.ports.notifier import About
from skene.ports.triggers import RowTriggers
from skene.runtime.parts import Parts
from skene.runtime.scanning import subject_columns

__all__ = [
    "DatabaseReport",
    "check_database",
    "check_gated",
    "find_faults",
    "look_at_database",
    "mail_providers",
    "providers",
    "reaction_mails",
    "step_mails",
]


_CHOICES = ("deny", "allow")
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)+")


def find_faults(parts: Parts, prefix: str) -> tuple[Fault, ...]:
    """Unknown providers, plans without a limit, templates that cannot be sent, settings that cannot work."""
    faults = [
        *parts.program.plan_faults(parts.billing.plans, parts.billing.default),
        *_url_faults(parts, prefix),
        *_prefix_faults(prefix),
        *_choice_faults(parts),
    ]
    checked: set[tuple[str, EmailAction, About]] = set()
    limits = [(one, "limit") for step in parts.program.steps for one in step_mails(step)]
    others = [(one, "loop") for reaction in parts.program.reactions.all for one in reaction_mails(reaction)]
    about: About
    for (where, mail), about in cast("list[tuple[tuple[str, EmailAction], About]]", limits + others):
        fault = _mail_fault(parts, where, mail, about, checked)
        if fault is not None:
            faults.append(fault)
    for reaction in parts.program.reactions.all:
        faults += _reaction_faults(parts, reaction)
    return tuple(dict.fromkeys(faults))  # a loop's goal is checked with each of its steps


@dataclass(frozen=True, slots=True)
class DatabaseReport:
    """What a database has to say of the loops.

    Attributes:
        faults: queries that cannot be run there.
        unknown: what could not be looked at, and why.
        missing: triggers that are not installed, so that their rows set nothing off.
    """

    faults: tuple[Fault, ...]
    unknown: tuple[str, ...]
    missing: tuple[RowTrigger, ...]


async def check_database(parts: Parts) -> None:
    """Prepare the queries of all conditions against the database, and look for missing triggers.

    Raises:
        ConfigurationError: with every query that cannot be run there.
    """
    report = await look_at_database(parts)
    for text in report.unknown:
        parts.log.warning("not checked at the start: %s", text)
    if report.faults:
        raise ConfigurationError(report.faults)
    if report.missing:  # no fault: they may be installed while the app runs
        tables = ", ".join(dict.fromkeys(one.table for one in report.missing))
        parts.log.warning("rows of %s set nothing off yet; run `skene db triggers --install`", tables)


async def look_at_database(parts: Parts) -> DatabaseReport:
    """Prepare every query of a condition, and look for the triggers that rows need. Changes nothing."""
    faults: list[Fault] = []
    unknown: list[str] = []
    for reaction in parts.program.reactions.all:
        for where, query, scanning in _queries(reaction):
            try:
                columns = await parts.queries().check(read_select(query.query))
            except QueryRefused as error:
                faults.append(Fault(where, f"a query that cannot be run: {error.reason}", "one that can"))
                continue
            except (QueryError, StorageUnavailable) as error:
                unknown.append(f"{where}: {error}")
                continue
            if scanning and columns and not any(name in columns for name in subject_columns(query)):
                wanted = " or ".join(subject_columns(query))
                given = f"a result with the columns {', '.join(columns)}"
                near = (nearest(name, columns) for name in subject_columns(query))
                hint = next(filter(None, near), None)
                faults.append(Fault(where, given, f"one with a column {wanted}, or subject=…", hint))
    missing: tuple[RowTrigger, ...] = ()
    try:
        missing = await _missing_triggers(parts)
    except (ConfigurationError, StorageError) as error:
        unknown.append(f"the database's triggers: {error}")
    return DatabaseReport(tuple(dict.fromkeys(faults)), tuple(unknown), missing)


async def _missing_triggers(parts: Parts) -> tuple[RowTrigger, ...]:
    wanted = parts.program.reactions.row_triggers
    triggers: RowTriggers | None = getattr(parts.storage, "triggers", None)
    return await triggers.missing(wanted) if wanted and triggers is not None else ()


def _queries(reaction: Reaction) -> Iterator[tuple[str, QueryCondition, bool]]:
    """Every query of a step: where it stands, and whether its rows say whom it is about."""
    if reaction.scan is not None:
        yield f"{reaction.path}.condition.query", reaction.scan, True
    for part in parts_of(reaction.condition):
        if isinstance(part, QueryCondition):
            yield f"{reaction.path}.condition.query", part, False
    if isinstance(reaction.goal, QueryCondition):
        yield f"{reaction.loop}.goal.query", reaction.goal, False


def _reaction_faults(parts: Parts, reaction: Reaction) -> Iterator[Fault]:
    """Sources, notifiers and queries that a step needs and that nobody has given."""
    trigger = reaction.trigger
    if isinstance(trigger, WebhookTrigger) and trigger.source not in parts.sources:
        known = ", ".join(parts.sources) or "none"
        near = nearest(trigger.source, parts.sources)
        given = f"{trigger.source!r}, which is not among the sources"
        allowed = f"one of those given to Skene(sources=…): {known}"
        yield Fault(f"{reaction.path}.trigger.source", given, allowed, near)
    for index, one in enumerate(reaction.actions):
        if isinstance(one, WebhookAction):
            yield from _webhook_faults(parts, reaction.place_of(index), one)
    if parts.own_queries is None and not hasattr(parts.storage, "queries"):
        for where, _, _ in _queries(reaction):
            yield Fault(where, "a query, and a storage that runs none", "Skene(queries=…)")


def _webhook_faults(parts: Parts, where: str, one: WebhookAction) -> Iterator[Fault]:
    notifier = parts.notifiers.get(one.provider)
    if notifier is None:
        known, near = ", ".join(parts.notifiers) or "none", nearest(one.provider, parts.notifiers)
        given = f"{one.provider!r}, which is not among the notifiers"
        allowed = f"a WebhookNotifier among those given to Skene: {known}"
        yield Fault(f"{where}.provider", given, allowed, near)
        return
    try:
        notifier.check(one.event, personalization=one.payload, about="loop")
    except (LookupError, ValueError) as error:
        yield Fault(f"{where}.event", f"{one.event!r}", f"an event that can be sent: {error}")


def providers(program: Program) -> set[str]:
    """The names of all notifiers that loops call."""
    hooks = [
        one.provider
        for reaction in program.reactions.all
        for one in reaction.actions
        if isinstance(one, WebhookAction)
    ]
    return mail_providers(program) | set(hooks)


def mail_providers(program: Program) -> set[str]:
    """The names of those that send mails."""
    mails = [mail for step in program.steps for _, mail in step_mails(step)]
    mails += [mail for reaction in program.reactions.all for _, mail in reaction_mails(reaction)]
    return {mail.provider for mail in mails if mail.provider}


def reaction_mails(reaction: Reaction) -> tuple[tuple[str, EmailAction], ...]:
    """Every mail that a step's actions send, with where it is written."""
    return tuple(
        (reaction.place_of(index), one)
        for index, one in enumerate(reaction.actions)
        if isinstance(one, EmailAction)
    )


def check_gated(program: Program, app: object, *, guarded: bool) -> None:
    """Refuse to run an app without a gate: what patterns name would be free for all, and nobody would know.

    Args:
        program: the compiled loops.
        app: the app that is started; None in scripts.
        guarded: a gate stands in front of an app.

    Raises:
        ConfigurationError: there are patterns, and no gate.
    """
    allowed = "gate.install(app); where nothing is to be gated, `async with skene:` in a lifespan of your own"
    patterns = [(step.path, step.trigger) for step in program.steps if step.trigger is not None]
    faults = [
        Fault(f"{path}.trigger.endpoint", f"{trigger.endpoint!r}, and no gate in front of the app", allowed)
        for path, trigger in patterns
        if not trigger.optional
    ]
    if faults and app is not None and not guarded:
        raise ConfigurationError(faults)


def step_mails(step: CompiledStep) -> tuple[tuple[str, EmailAction], ...]:
    """Every mail a step can send, with where it is written."""
    prompt = ((f"{step.path}.action.upgrade_prompt", step.prompt),) if step.prompt is not None else ()
    return (*prompt, *((f"{step.path}.action.warning", mail) for _, mail in step.warnings))


def _mail_fault(
    parts: Parts, where: str, mail: EmailAction, about: About, checked: set[tuple[str, EmailAction, About]]
) -> Fault | None:
    known = ", ".join(parts.notifiers) or "none"
    if not parts.notifiers:
        return Fault(f"{where}.provider", "no notifier at all", "Skene(notifiers={name: …})", None)
    name = parts.channel(mail)
    notifier = parts.notifiers.get(name)
    if notifier is None:
        near = get_close_matches(name, parts.notifiers, 1)
        return Fault(
            f"{where}.provider",
            f"{name!r}, which is not among the notifiers",
            f"one of those given to Skene: {known}",
            near[0] if near else None,
        )
    if (name, mail, about) in checked:
        return None
    checked.add((name, mail, about))
    try:
        notifier.check(
            mail.template, subject_line=mail.subject, personalization=mail.personalization, about=about
        )
    except (LookupError, ValueError) as error:
        text = str(error.args[0]) if error.args else str(error)
        return Fault(f"{where}.template", f"{mail.template!r}", f"one that can be sent: {text}", None)
    return None


def _url_faults(parts: Parts, prefix: str) -> list[Fault]:
    url = parts.links.base_url
    try:
        split = urlsplit(url)
        usable = split.scheme in ("http", "https") and split.hostname and split.port != 0
        # It is the beginning of every link in a mail: a password in it would be everybody's.
        if usable and not (split.query or split.fragment or "@" in split.netloc):
            return _local_faults(parts, split.hostname)
    except ValueError:  # half a bracket, a port that is no number
        pass
    allowed = "an address such as https://app.acme.test, without query, fragment, user or password"
    return [Fault("Skene(public_url=…)", describe(url.removesuffix(prefix)), allowed, None)]


def _local_faults(parts: Parts, host: str | None) -> list[Fault]:
    """Links for people who really pay would lead to their own machines: a setting is missing."""
    if host != "localhost" or getattr(parts.billing, "livemode", None) is not True:
        return []
    allowed = "where people reach your app, such as https://app.acme.test (SKENE_PUBLIC_URL)"
    return [Fault("Skene(public_url=…)", "http://localhost beside a live Stripe key", allowed)]


def _prefix_faults(prefix: str) -> list[Fault]:
    if _PREFIX.fullmatch(prefix):
        return []
    return [
        Fault(
            "Skene(prefix=…)", describe(prefix), 'a path such as "/skene", without a slash at the end', None
        )
    ]


def _choice_faults(parts: Parts) -> list[Fault]:
    given: str = parts.on_storage_error
    if given in _CHOICES:
        return []
    # Whatever is misspelt here would deny, and nobody would notice before the storage is away.
    return [
        Fault("Skene(on_storage_error=…)", describe(given), '"deny" or "allow"', nearest(given, _CHOICES))
    ]
