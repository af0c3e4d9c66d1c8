"""What only wiring can show: found at start-up, before the first request."""

import re
from difflib import get_close_matches
from urllib.parse import urlsplit

from skene.definitions import EmailAction, Fault
from skene.definitions.faults import describe, nearest
from skene.engine.program import CompiledStep, Program
from skene.errors import ConfigurationError
from skene.runtime.parts import Parts

__all__ = ["check_gated", "find_faults", "step_mails"]


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
    checked: set[tuple[str, EmailAction]] = set()
    for step in parts.program.steps:
        for where, mail in step_mails(step):
            fault = _mail_fault(parts, where, mail, checked)
            if fault is not None:
                faults.append(fault)
    return tuple(faults)


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
    parts: Parts, where: str, mail: EmailAction, checked: set[tuple[str, EmailAction]]
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
    if (name, mail) in checked:
        return None
    checked.add((name, mail))
    try:
        notifier.check(mail.template, subject_line=mail.subject, personalization=mail.personalization)
    except (LookupError, ValueError) as error:
        text = str(error.args[0]) if error.args else str(error)
        return Fault(f"{where}.template", f"{mail.template!r}", f"one that can be sent: {text}", None)
    return None


def _url_faults(parts: Parts, prefix: str) -> list[Fault]:
    url = parts.links.base_url
    try:
        split = urlsplit(url)
        usable = split.scheme in ("http", "https") and split.hostname and split.port != 0
        if usable and not (split.query or split.fragment):
            return _local_faults(parts, split.hostname)
    except ValueError:  # half a bracket, a port that is no number
        pass
    allowed = "an address such as https://app.acme.test, without query or fragment"
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
