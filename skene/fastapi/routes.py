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
from skene.fastapi.answers import as_json, problem, unavailable, unknown_subject
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
        skene: what they work on.
        subject: the app's dependency that says who is asking.
    """
    router = APIRouter(include_in_schema=False)
    people = _PeopleRoutes(skene)

    async def portal(who: Annotated[Any, Depends(subject)]) -> Response:
        return await people.portal(who)

    async def usage(who: Annotated[Any, Depends(subject)]) -> Response:
        return await people.usage(who)

    router.add_api_route("/webhooks/stripe", _WebhookRoute(skene).receive, methods=["POST"])
    router.add_api_route("/upgrade", people.upgrade, methods=["GET"])
    router.add_api_route("/checkout/return", people.checkout_return, methods=["GET"])
    router.add_api_route("/portal", portal, methods=["GET"])
    router.add_api_route("/usage", usage, methods=["GET"])
    return router


class _WebhookRoute:
    def __init__(self, skene: Runtime) -> None:
        self._skene = skene

    async def receive(self, request: Request) -> Response:
        """Take a webhook; anything but 200 makes the sender repeat it."""
        try:
            body = await _limited_body(request)
            headers = {name.lower(): value for name, value in request.headers.items()}
            await self._skene.billing_sync.receive(body, headers)
        except WebhookRejected as error:
            return problem(error.status, "webhook_rejected", "Webhook rejected", str(error))
        except BillingUnavailable:
            return _billing_away()
        except StorageUnavailable as error:
            return unavailable(error.retry_after.total_seconds())
        return JSONResponse({"received": True})


class _PeopleRoutes:
    def __init__(self, skene: Runtime) -> None:
        self._skene = skene

    async def upgrade(self, token: str = "") -> Response:
        """From a link in a message to a fresh checkout."""
        back = self._skene.public_origin
        try:
            return _see_other(await self._skene.upgrade.follow(token))
        except LinkInvalid as error:
            text = f"It is {error.reason}. Use the feature again to get a new one."
            return page("This link does not work", text, back=back, status=400)
        except CheckoutUnavailable:
            return page("Nothing to buy here", "Please contact us to upgrade.", back=back, status=404)
        except (BillingUnavailable, StorageUnavailable):
            text = "Payment cannot be reached just now. This page tries again by itself."
            return page("One moment, please", text, back=back, status=503, refresh=SETTLING)

    async def checkout_return(self, session_id: str = "") -> Response:
        """Back from checkout: the plan is in force before the person sees anything."""
        back = self._skene.public_origin
        try:
            active = await self._skene.billing_sync.checkout_returned(session_id)
        except LookupError:
            return page("Unknown checkout", "There is no such checkout.", back=back, status=404)
        except (BillingUnavailable, StorageUnavailable):
            active = False
        if active:
            return page("Thank you", "Your new plan is active.", back=back)
        text = "Your payment is being confirmed. This page looks again by itself."
        return page("Almost there", text, back=back, status=202, refresh=SETTLING)

    async def portal(self, who: object) -> Response:
        """To the page where callers manage what they pay for."""
        subject = subject_text(who)
        if subject is None:
            return unknown_subject()
        try:
            return _see_other(await self._skene.upgrade.portal(subject))
        except CheckoutUnavailable as error:
            return problem(404, "no_subscription", "No subscription", str(error))
        except BillingUnavailable:
            return _billing_away()
        except StorageUnavailable as error:
            return unavailable(error.retry_after.total_seconds())

    async def usage(self, who: object) -> Response:
        """How the caller stands with every loop; read-only."""
        subject = subject_text(who)
        if subject is None:
            return unknown_subject()
        try:
            decisions = await self._skene.usage(subject)
        except StorageUnavailable as error:
            return unavailable(error.retry_after.total_seconds())
        return JSONResponse({"usage": [as_json(decision) for decision in decisions]})


def _billing_away() -> Response:
    text = "The billing service did not answer."
    return problem(503, "billing_unavailable", "Try again", text, headers={"Retry-After": "5"})


async def _limited_body(request: Request) -> bytes:
    """The raw body, given up as soon as it is too large.

    Raises:
        WebhookRejected: over 1 MiB.
    """
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_WEBHOOK:
            raise WebhookRejected("the body is larger than 1 MiB", 413)
        chunks.append(chunk)
    return b"".join(chunks)


def _see_other(url: str) -> Response:
    headers = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return RedirectResponse(url, 303, headers)
