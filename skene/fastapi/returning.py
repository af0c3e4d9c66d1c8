"""The page that somebody sees who comes back from a checkout."""

from urllib.parse import urlencode

from starlette.responses import Response

from skene.fastapi.pages import Link, Refresh, page
from skene.runtime.returning import Returned

__all__ = ["PAUSES", "return_page"]

PAUSES = (2, 3, 5, 8, 13, 21, 34)
"""Seconds between looks at a payment that is being confirmed; after the last one the page stays as it is."""


def return_page(found: Returned, session: str, tries: str, *, back: str) -> Response:
    """Say how a checkout stands.

    Args:
        found: as the billing service says.
        session: the checkout session's id, as it came: the page looks again with it.
        tries: how often the page has looked already, as it came.
        back: where "Continue" leads.
    """
    if found.state == "active":
        return page("Thank you", "Your new plan is active.", back=back)
    if found.state == "open":
        text = "You have not finished the checkout, and nothing was paid."
        link = Link(found.url, "Go on with the checkout") if found.url else None
        return page("Not finished", text, back=back, link=link)
    if found.state == "expired":
        text = "This checkout is no longer open, and nothing was paid."
        link = Link(found.url, "Start again") if found.url else None
        return page("Too late", text, back=back, status=410, link=link)
    looked = int(tries) if tries.isascii() and tries.isdigit() and len(tries) < 3 else 0
    if looked >= len(PAUSES):
        text = (
            "Your payment is still being confirmed. With some banks that takes days. You need not wait here: "
            "your new plan begins by itself as soon as the payment is confirmed."
        )
        return page("This takes a while", text, back=back, status=202)
    text = "Your payment is being confirmed. This page looks again by itself."
    query = urlencode({"session_id": session, "tries": looked + 1})
    return page("Almost there", text, back=back, status=202, refresh=Refresh(PAUSES[looked], f"?{query}"))
