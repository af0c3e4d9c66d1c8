"""The routes that billing and people come back to, mounted under `/skene`."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from skene.errors import (
    BillingUnavailable,
    CheckoutUnavailable,
    LinkInvalid,
    StorageUnavailable,
    WebhookRejected,
)
from skene.fastapi.answers import as_json, problem, unavailable
from skene.fastapi.charging import subject_text
from skene.fastapi.pages import page
from skene.runtime.skene import Runtime

__all__ = ["make_routes"]

MAX_WEBHOOK = 1_048_576
"""Bytes. Stripe's events are far smaller; more is refused while it is still being read."""
SETTLING = 3


def make_routes(skene: Runtime, subject: Callable[..., Any]) -> APIRouter:
    """The router with the webhook, upgrade, checkout, portal and usage routes.

    Args:
        subject: the app's dependency that says who is asking.
    """
    router = APIRouter(include_in_schema=False)

    @router.post("/webhooks/stripe")
    async def stripe_webhook(request: Request) -> Response:
        try:
            body = await _limited_body(request)
            await skene.billing_sync.receive(body, {k.lower(): v for k, v in request.headers.items()})
        except WebhookRejected as error:
            return problem(error.status, "webhook_rejected", "Webhook rejected", str(error))
        except BillingUnavailable:
            # Not recorded: the sender repeats it.
            return problem(503, "billing_unavailable", "Try again", "The customer's state could not be fetched.")
        except StorageUnavailable as error:
            return unavailable(error.retry_after.total_seconds())
        return JSONResponse({"received": True})

    @router.get("/upgrade")
    async def upgrade(token: str = "") -> Response:
        back = skene.public_origin
        try:
            return _see_other(await skene.upgrade.follow(token))
        except LinkInvalid as error:
            again = "Ask for a new one by using the feature again."
            return page("This link does not work", f"It is {error.reason}. {again}", back=back, status=400)
        except CheckoutUnavailable:
            return page("Nothing to buy here", "Please contact us to upgrade.", back=back, status=404)
        except (BillingUnavailable, StorageUnavailable):
            return page("One moment, please", "Payment cannot be reached just now.", back=back, status=503, refresh=5)

    @router.get("/checkout/return")
    async def checkout_return(session_id: str = "") -> Response:
        back = skene.public_origin
        try:
            active = await skene.billing_sync.checkout_returned(session_id)
        except LookupError:
            return page("Unknown checkout", "There is no such checkout.", back=back, status=404)
        except (BillingUnavailable, StorageUnavailable):
            active = False
        if active:
            return page("Thank you", "Your new plan is active.", back=back)
        text = "Your payment is being confirmed. This page looks again by itself."
        return page("Almost there", text, back=back, status=202, refresh=SETTLING)

    @router.get("/portal")
    async def portal(who: Annotated[Any, Depends(subject)]) -> Response:
        caller = subject_text(who)
        if caller is None:
            return problem(401, "subject_unknown", "Not authenticated", "This request names no user.")
        try:
            return _see_other(await skene.upgrade.portal(caller))
        except CheckoutUnavailable as error:
            return problem(404, "no_subscription", "No subscription", str(error))
        except BillingUnavailable:
            return problem(503, "billing_unavailable", "Try again", "Billing cannot be reached just now.")
        except StorageUnavailable as error:
            return unavailable(error.retry_after.total_seconds())

    @router.get("/usage")
    async def usage(who: Annotated[Any, Depends(subject)]) -> Response:
        caller = subject_text(who)
        if caller is None:
            return problem(401, "subject_unknown", "Not authenticated", "This request names no user.")
        try:
            decisions = await skene.usage(caller)
        except StorageUnavailable as error:
            return unavailable(error.retry_after.total_seconds())
        return JSONResponse({"usage": [as_json(decision) for decision in decisions]})

    return router


async def _limited_body(request: Request) -> bytes:
    """The raw body, given up as soon as it is too large.

    Raises:
        WebhookRejected: over 1 MiB.
    """
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_WEBHOOK:
            raise WebhookRejected("the body is larger than 1 MiB", 413)
        chunks.append(chunk)
    return b"".join(chunks)


def _see_other(url: str) -> Response:
    headers = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return RedirectResponse(url, 303, headers)
