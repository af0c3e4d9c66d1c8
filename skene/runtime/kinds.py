"""Parts of the wrong kind, said where they are handed over instead of where they first break."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from os import PathLike
from typing import cast

from skene.definitions import Fault, Loop, parse_duration
from skene.definitions.faults import DefinitionError, describe
from skene.errors import ConfigurationError
from skene.runtime.policy import MailPolicy

__all__ = ["check_kinds", "check_loops"]


def check_loops(loops: Iterable[object]) -> None:
    """Refuse what is no loop.

    Raises:
        ConfigurationError: with everything that is none.
    """
    _refuse(_loop_faults(loops))


def check_kinds(
    loops: Iterable[object],
    storage: object,
    billing: object,
    notifiers: object,
    profile: object,
    link_lifetime: object,
    sources: object = None,
    mail: object = None,
    offer: object = None,
    sync_every: object = None,
) -> None:
    """Refuse parts that are not even of the right kind. What type checkers would have said.

    Raises:
        ConfigurationError: with everything that is not.
    """
    faults = _loop_faults(loops)
    if _is_plain(storage):
        path = isinstance(storage, str | PathLike)
        hint = "a SqliteStorage or PostgresStorage of it" if path else _call_it(storage)
        faults.append(Fault("Skene(storage=…)", describe(storage, "dsn"), "a storage", hint))
    if billing is not None and _is_plain(billing):
        allowed = "a StripeBilling, a ManualBilling, or nothing"
        faults.append(Fault("Skene(billing=…)", describe(billing), allowed, _call_it(billing)))
    faults += _notifier_faults(notifiers)
    if profile is not None and not callable(profile):
        allowed = "an async function from a subject's id to its Profile"
        faults.append(Fault("Skene(profile=…)", describe(profile), allowed))
    if not isinstance(link_lifetime, timedelta) or link_lifetime < timedelta(seconds=1):
        allowed = "a timedelta of a second or more, such as timedelta(days=30)"
        faults.append(Fault("Skene(link_lifetime=…)", describe(link_lifetime), allowed))
    faults += _source_faults(sources)
    if mail is not None and not isinstance(mail, MailPolicy):
        faults.append(Fault("Skene(mail=…)", describe(mail), 'a MailPolicy(cap=(2, "7d"), …)'))
    if offer is not None and not callable(offer):
        allowed = "a function from subject, plan held and step to a plan"
        faults.append(Fault("Skene(offer=…)", describe(offer), allowed))
    if sync_every is not None:
        try:
            parse_duration(sync_every)
        except DefinitionError as error:
            faults += [replace(fault, path="Skene(sync_every=…)") for fault in error.faults]
    _refuse(faults)


def _source_faults(sources: object) -> list[Fault]:
    if sources is None:
        return []
    if not isinstance(sources, Mapping):
        return [Fault("Skene(sources=…)", describe(sources), "sources by name", "{name: source}")]
    return [
        Fault(f"Skene(sources=…)[{name!r}]", describe(one, "secret"), "a source", _call_it(one))
        for name, one in cast("Mapping[object, object]", sources).items()
        if _is_plain(one)
    ]


def _loop_faults(loops: Iterable[object]) -> list[Fault]:
    allowed = "loops from define_loop or load_loop, one after another"
    wrong = [loop for loop in loops if not isinstance(loop, Loop)]
    return [
        Fault("Skene(…)", describe(loop), allowed, "*loops" if isinstance(loop, list | tuple) else None)
        for loop in wrong
    ]


def _notifier_faults(notifiers: object) -> list[Fault]:
    if notifiers is None:
        return []
    if not isinstance(notifiers, Mapping):
        return [Fault("Skene(notifiers=…)", describe(notifiers), "notifiers by name", "{name: notifier}")]
    return [
        Fault(f"Skene(notifiers=…)[{name!r}]", describe(one, "key"), "a notifier", _call_it(one))
        for name, one in cast("Mapping[object, object]", notifiers).items()
        if _is_plain(one)
    ]


def _is_plain(part: object) -> bool:
    """Whether it cannot be a back-end: a value, a path, a class in place of its instance.

    Back-ends are anybody's classes; they are asked for nothing before the start.
    """
    return isinstance(part, type | PathLike) or type(part).__module__ == "builtins"


def _call_it(part: object) -> str | None:
    return f"{part.__name__}(…)" if isinstance(part, type) else None


def _refuse(faults: list[Fault]) -> None:
    if faults:
        raise ConfigurationError(faults)
