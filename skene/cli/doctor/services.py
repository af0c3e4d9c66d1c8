"""Those an app talks to: billing, the mail provider, and its own public address."""

from collections.abc import AsyncIterator
from email.utils import parseaddr
from urllib.parse import urlsplit

import httpx

from skene.cli.doctor.findings import Finding, Patient, Severity
from skene.errors import BillingUnavailable, DeliveryFailed

__all__ = ["billing", "endpoint", "senders"]

_LOCAL = ("localhost", "127.0.0.1", "::1")
_SECONDS = 10


async def billing(patient: Patient) -> AsyncIterator[Finding]:
    """Whether the key works, may do what it must, and is of the mode that is meant."""
    from skene.adapters.manual import ManualBilling
    from skene.adapters.stripe import StripeBilling

    back_end = patient.skene.billing
    if isinstance(back_end, ManualBilling):
        yield Finding(
            "billing", Severity.WARNING, "plans are set by hand: nobody can pay", "skene login stripe"
        )
        return
    if not isinstance(back_end, StripeBilling):
        yield Finding("billing", Severity.SKIPPED, f"{back_end.name} is not looked at")
        return
    try:
        found = await back_end.survey()
    except BillingUnavailable as error:
        yield Finding("billing", Severity.ERROR, str(error), "skene login stripe")
        return
    mode = {True: "LIVE: real money", False: "test", None: "unknown"}[back_end.livemode]
    if found.missing:
        advice = "add them to the restricted key in Stripe's dashboard, Developers, API keys"
        yield Finding(
            "billing", Severity.ERROR, f"the key lacks permissions: {', '.join(found.missing)}", advice
        )
    else:
        yield Finding("billing", Severity.OK, f"Stripe answers; mode {mode}")
    known = {name for one in found.prices for name in (one.price, one.product, one.lookup_key)}
    gone = [key for key in back_end.prices if key != "*" and key not in known]
    # A listing ends at a hundred: what is not on a full page may be on the next one.
    if gone and "read prices" not in found.missing and len(found.prices) < 100:
        seen = f"not on sale in this account and mode: {', '.join(gone)}"
        yield Finding("prices", Severity.ERROR, seen, "skene login stripe lists what is; correct plans={…}")


async def senders(patient: Patient) -> AsyncIterator[Finding]:
    """Whether the domains that mails come from are verified at Resend."""
    from skene.adapters.resend import ResendNotifier

    ours = {name: one for name, one in patient.skene.notifiers.items() if isinstance(one, ResendNotifier)}
    if not ours:
        kinds = ", ".join(sorted({type(one).__name__ for one in patient.skene.notifiers.values()})) or "none"
        severity = Severity.WARNING if kinds in ("FileNotifier", "none") else Severity.SKIPPED
        advice = "skene login resend" if severity is Severity.WARNING else ""
        yield Finding("sender", severity, f"mails do not go through Resend: {kinds}", advice)
    for name, one in ours.items():
        domain = parseaddr(one.sender)[1].rpartition("@")[2].lower()
        try:
            domains = await one.domains()
        except DeliveryFailed as error:
            yield Finding("sender", Severity.ERROR, f"{name}: {error}", "skene login resend")
            continue
        if domains is None:
            seen = f"{name}: the key may only send, so whether {domain} is verified cannot be seen"
            yield Finding("sender", Severity.SKIPPED, seen, "look at Resend's dashboard, Domains")
        elif domains.get(domain) == "verified":
            yield Finding("sender", Severity.OK, f"{name}: {domain} is verified")
        else:
            seen = (
                f"{name}: {domain} is {domains.get(domain, 'not added')} at Resend; mails from it are refused"
            )
            yield Finding(
                "sender",
                Severity.ERROR,
                seen,
                "verify it in Resend's dashboard, Domains, or change SKENE_SENDER",
            )


async def endpoint(patient: Patient) -> AsyncIterator[Finding]:
    """Whether webhooks find their way: the public address is asked for what Stripe will ask for."""
    skene = patient.skene
    origin = skene.public_origin
    url = f"{origin}{skene.prefix}/webhooks/stripe"
    if urlsplit(origin).hostname in _LOCAL and not patient.env.get("SKENE_PUBLIC_URL"):
        advice = "set SKENE_PUBLIC_URL to where people reach your app, such as https://app.acme.test"
        yield Finding("endpoint", Severity.WARNING, f"links in mails lead to {origin}", advice)
        return
    advice = f"let your proxy or platform pass {skene.prefix}/ to the app, without a sign-in in front"
    try:
        async with httpx.AsyncClient(timeout=_SECONDS) as client:
            answer = await client.post(url, content=b"{}")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        seen = f"{url} cannot be reached from here: {type(error).__name__}"
        yield Finding("endpoint", Severity.ERROR, seen, "start the app, and see that the address leads to it")
        return
    if answer.status_code == 400 and "signature" in answer.text.lower():  # unsigned: refused as it must be
        yield Finding("endpoint", Severity.OK, f"{url} answers, and refuses what is not signed")
    elif answer.is_success:
        yield Finding(
            "endpoint", Severity.ERROR, f"{url} takes what is not signed: another server answers", advice
        )
    else:
        yield Finding(
            "endpoint", Severity.ERROR, f"{url} answers {answer.status_code}, and not as skene does", advice
        )
