"""Which plan an upgrade link sells, and where a browser may be sent for it."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias
from urllib.parse import urlsplit

from skene.engine.program import CompiledStep, Program
from skene.errors import CheckoutUnavailable
from skene.runtime.calling import call

__all__ = ["Offer", "address", "better_plan", "choose"]

Offer: TypeAlias = Callable[[str, str, str | None], str | Awaitable[str | None] | None]
"""Says which plan to sell: from the subject, the plan held, and the step that refused (None: none did) to one
of the plans that billing offers. None leaves the choice to skene."""


async def choose(offer: Offer, subject: str, held: str, step: str | None) -> str | None:
    """Ask the app's own function; one that is not async runs in a thread.

    Raises:
        TypeError: it answered with something other than a plan's name or None.
        Exception: whatever it raises itself.
    """
    answer: object = await call(lambda asked: offer(*asked), (subject, held, step))
    if answer is None or isinstance(answer, str):
        return answer
    raise TypeError("a plan is a text")


def better_plan(
    program: Program, plans: Sequence[str], offers: Sequence[str], held: str, step: str | None
) -> str | None:
    """The next plan above the one held that is sold and, where a step has refused, allows more there.

    Args:
        program: knows the limits.
        plans: all plans besides the default one, least to most valuable.
        offers: those that are sold.
        held: the plan held now; one that is not in `plans` is below all of them.
        step: the key of the step that refused; None: none did.

    Returns:
        None: there is none.
    """
    above = plans[plans.index(held) + 1 :] if held in plans else plans
    refusing = [one for one in program.steps if one.key == step]
    for plan in above:
        if plan in offers and all(_allows_more(one, plan, held) for one in refusing):
            return plan
    return None


def address(url: str) -> str:
    """An address that a browser may be sent to: of a page, with nothing in it that could become a header.

    Raises:
        CheckoutUnavailable: anything else.
    """
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.username
    except ValueError:
        fine = False
    # Browsers take a backslash for a slash, so that what follows it would be another host.
    if not fine or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise CheckoutUnavailable("the billing back-end gave an address that no browser should be sent to")
    return url


def _allows_more(step: CompiledStep, plan: str, held: str) -> bool:
    limit, now = step.limits.get(plan, 0), step.limits.get(held, 0)
    return now is not None and (limit is None or limit > now)
