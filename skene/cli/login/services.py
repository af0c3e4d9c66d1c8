"""What each service is asked, and what its answers mean. Nothing here shows a secret."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio

from skene.cli.failing import CommandError
from skene.cli.output import counted
from skene.errors import BillingUnavailable, ConfigurationError, DeliveryFailed

if TYPE_CHECKING:
    from skene.adapters.stripe.survey import Priced

__all__ = ["QUESTIONS", "Answer", "Question", "check_resend", "check_stripe"]


@dataclass(frozen=True, slots=True)
class Question:
    """A variable that a person is asked for.

    Attributes:
        name: of the variable.
        words: the question.
        secret: it is typed unseen, and may go into the keyring.
        optional: Enter leaves it out.
    """

    name: str
    words: str
    secret: bool = True
    optional: bool = False


QUESTIONS: Mapping[str, Sequence[Question]] = {
    "stripe": (
        Question("STRIPE_API_KEY", "Stripe's secret or restricted key (sk_… or rk_…)"),
        Question("STRIPE_WEBHOOK_SECRET", "Signing secret of the webhook endpoint (whsec_…)"),
    ),
    "resend": (
        Question("RESEND_API_KEY", "Resend's API key (re_…)"),
        Question("SKENE_SENDER", "Sender, such as Acme <team@acme.test>", secret=False),
        Question("RESEND_WEBHOOK_SECRET", "Signing secret of Resend's webhook (whsec_…)", optional=True),
    ),
}


@dataclass(slots=True)
class Answer:
    """What a service said.

    Attributes:
        mode: `live`, `test`, or None where there is no such thing.
        prices: what can be bought.
        missing: permissions that the key lacks.
        lines: for people.
        warnings: what should not stay so.
    """

    mode: str | None = None
    prices: "tuple[Priced, ...]" = ()
    missing: tuple[str, ...] = ()
    lines: list[str] = field(default_factory=list[str])
    warnings: list[str] = field(default_factory=list[str])


def check_stripe(given: Mapping[str, str], base: str | None) -> Answer:
    """Ask Stripe about a key.

    Args:
        given: the variables.
        base: another address than Stripe's.

    Raises:
        CommandError: a value that cannot be one, a key that is refused, Stripe cannot be reached.
    """
    from skene.adapters.stripe import StripeBilling

    try:
        billing = StripeBilling(
            api_key=given["STRIPE_API_KEY"],
            webhook_secret=given["STRIPE_WEBHOOK_SECRET"],
            plans={"*": "paid"},
            base_url=base,
        )
    except ConfigurationError as error:
        raise CommandError(
            _faults(error, {"api_key": "STRIPE_API_KEY", "webhook_secret": "STRIPE_WEBHOOK_SECRET"})
        ) from None

    async def ask() -> Any:
        try:
            return await billing.survey()
        finally:
            await billing.aclose()

    try:
        found = anyio.run(ask)
    except BillingUnavailable as error:
        raise CommandError(
            f"{error}; nothing was stored".replace("the key in api_key", "STRIPE_API_KEY")
        ) from None
    mode = {True: "live", False: "test", None: None}[billing.livemode]
    told = {
        "live": "LIVE mode: real customers, real money",
        "test": "test mode: no real money",
        None: "mode unknown",
    }
    answer = Answer(mode, found.prices, found.missing, [f"Stripe: {told[mode]}"])
    if found.missing:
        answer.warnings.append(
            f"the restricted key lacks permissions: {', '.join(found.missing)}; "
            "add them in Stripe's dashboard, Developers, API keys"
        )
    if not found.prices and "read prices" not in found.missing:
        answer.warnings.append(
            "there is no active price yet: make a product with a recurring price in Stripe's dashboard"
        )
    return answer


def check_resend(given: Mapping[str, str], base: str | None) -> Answer:
    """Ask Resend about a key and a sender.

    Raises:
        CommandError: a value that cannot be one, a key that is refused, Resend cannot be reached.
    """
    from email.utils import parseaddr

    from skene.adapters.resend import ResendNotifier

    try:
        notifier = ResendNotifier(
            given["RESEND_API_KEY"],
            given["SKENE_SENDER"],
            base_url=base,
            webhook_secret=given.get("RESEND_WEBHOOK_SECRET") or None,
        )
    except ConfigurationError as error:
        names = {
            "api_key": "RESEND_API_KEY",
            "sender": "SKENE_SENDER",
            "webhook_secret": "RESEND_WEBHOOK_SECRET",
        }
        raise CommandError(_faults(error, {**names, "base_url": "RESEND_API_URL"})) from None

    async def ask() -> Mapping[str, str] | None:
        try:
            return await notifier.domains()
        finally:
            await notifier.aclose()

    try:
        domains = anyio.run(ask)
    except DeliveryFailed as error:
        raise CommandError(f"{error}; nothing was stored") from None
    domain = parseaddr(given["SKENE_SENDER"])[1].rpartition("@")[2].lower()
    if domains is None:
        return Answer(
            lines=["Resend: a key that may send and nothing else"],
            warnings=[
                f"whether {domain} is verified cannot be seen with it; look at Resend's dashboard, Domains"
            ],
        )
    answer = Answer(lines=[f"Resend: {counted(len(domains), 'domain')}"])
    if domains.get(domain) == "verified":
        answer.lines.append(f"{domain}: verified")
    else:
        status = domains.get(domain, "not added")
        answer.warnings.append(
            f"{domain} is {status}: mails from it are refused; verify it in Resend's dashboard, Domains"
        )
    return answer


def _faults(error: ConfigurationError, names: Mapping[str, str]) -> str:
    """Faults under the names that were asked for."""
    lines: list[str] = []
    for fault in error.faults:
        setting = (
            fault.path.rpartition(".")[2].partition("(")[2].partition("=")[0] or fault.path.rpartition(".")[2]
        )
        lines.append(f"{names.get(setting, fault.path)}: got {fault.given}; give {fault.allowed}")
    return "; ".join(lines) or str(error)
