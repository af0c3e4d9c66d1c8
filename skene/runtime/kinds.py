"""Parts of the wrong kind, said where they are handed over instead of where they first break."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from os import PathLike
from typing import cast, get_args

from skene.definitions import Fault, Loop, parse_duration
from skene.definitions.faults import DefinitionError, describe, nearest
from skene.definitions.values import as_list
from skene.errors import ConfigurationError
from skene.ports.accounts import Credit
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
    hooks: object = None,
    credit: object = "last",
    observers: object = (),
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
    faults += _hook_faults(hooks, notifiers)
    if credit not in get_args(Credit):
        allowed = '"last" or "first": which of several walls a conversion is credited to'
        near = nearest(credit, get_args(Credit)) if isinstance(credit, str) else None
        faults.append(Fault("Skene(credit=…)", describe(credit), allowed, near))
    faults += _observer_faults(observers)
    _refuse(faults)


def _observer_faults(observers: object) -> list[Fault]:
    given = as_list(observers)
    if given is None:
        hint = None if _is_plain(observers) else "[…]"
        return [Fault("Skene(observers=…)", describe(observers), "a list of observers", hint)]
    return [
        Fault(f"Skene(observers=…)[{place}]", describe(one), "an observer", _call_it(one))
        for place, one in enumerate(given)
        if not callable(getattr(one, "begin", None)) or isinstance(one, type)
    ]


def _hook_faults(hooks: object, notifiers: object) -> list[Fault]:
    if hooks is None:
        return []
    if not isinstance(hooks, Mapping):
        return [Fault("Skene(hooks=…)", describe(hooks), "hooks by name", "{name: hook}")]
    faults: list[Fault] = []
    for name, one in cast("Mapping[object, object]", hooks).items():
        path = f"Skene(hooks=…)[{name!r}]"
        if not isinstance(name, str) or not name.strip():
            faults.append(Fault(path, f"the name {describe(name)}", 'text such as "warehouse"'))
        elif isinstance(notifiers, Mapping) and name in notifiers:
            # What one of two channels with one name is asked to wait for would hold the other, too.
            faults.append(Fault(path, "the name of a notifier", "a name of its own"))
        if _is_plain(one):
            faults.append(Fault(path, describe(one, "secret"), "a hook", _call_it(one)))
    return faults


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
