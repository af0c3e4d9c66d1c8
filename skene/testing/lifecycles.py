"""How customers of Stripe's live, each a whole story with the time that passes in it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal, TypeAlias

from skene.testing.clock import ManualClock
from skene.testing.stripe_server import FakeStripe

__all__ = ["Buyer", "Lifecycle", "live"]

Lifecycle: TypeAlias = Literal[
    "subscribes",
    "trial_converts",
    "trial_cancelled",
    "renews",
    "switches_price",
    "pays_late",
    "never_pays",
    "cancels",
    "cancels_at_period_end",
    "keeps_after_all",
    "comes_back",
    "pauses",
    "refunded",
    "loses_dispute",
    "deleted",
]
"""What can happen to a customer."""


@dataclass(frozen=True, slots=True)
class Buyer:
    """Who lives, and what they buy.

    Attributes:
        subject: as the app names it.
        price: what is bought; the only price there is, if None.
        to: what a story that switches prices ends with.
    """

    subject: str
    price: str | None = None
    to: str | None = None


async def live(stripe: FakeStripe, clock: ManualClock, name: str, buyer: Buyer) -> None:
    """Let a whole story happen.

    Raises:
        LookupError: no story is called so, or there is no such price.
        ValueError: a story that switches prices, and no price to switch to.
    """
    if name not in _STORIES:
        close = get_close_matches(name, _STORIES, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise LookupError(f"no lifecycle is called {name!r}; there are: {', '.join(_STORIES)}{hint}")
    if (name == "switches_price") != (buyer.to is not None):
        told = "give the price that is switched to" if buyer.to is None else "only 'switches_price' takes it"
        raise ValueError(f"lifecycle {name!r}: got to={buyer.to!r}; {told}")
    for part in _STORIES[name]:
        if isinstance(part, str):
            clock.advance(part)
            await stripe.catch_up()
        else:
            await part(stripe, buyer)


# -- inside ------------------------------------------------------------------------------------------------

_Scene: TypeAlias = Callable[[FakeStripe, Buyer], Awaitable[object]]
_MONTH = "31d"  # whichever month it is, the period is over


def _subscribes(trial_days: int = 0) -> _Scene:
    return lambda stripe, buyer: stripe.subscribe(buyer.subject, buyer.price, trial_days=trial_days)


def _becomes(status: str) -> _Scene:
    return lambda stripe, buyer: stripe.set_status(buyer.subject, status)


def _cancels(*, at_period_end: bool = False) -> _Scene:
    return lambda stripe, buyer: stripe.cancel(buyer.subject, at_period_end=at_period_end)


# A text lets time pass, and then happen what is due.
_STORIES: Mapping[str, tuple[_Scene | str, ...]] = {
    "subscribes": (_subscribes(),),
    "trial_converts": (_subscribes(14), "14d"),
    "trial_cancelled": (_subscribes(14), "7d", _cancels()),
    "renews": (_subscribes(), _MONTH),
    "switches_price": (
        _subscribes(),
        "5d",
        lambda stripe, buyer: stripe.switch_price(buyer.subject, buyer.to or ""),
    ),
    "pays_late": (_subscribes(), _MONTH, _becomes("past_due"), "3d", _becomes("active")),
    "never_pays": (_subscribes(), _MONTH, _becomes("past_due"), "21d", _cancels()),
    "cancels": (_subscribes(), "5d", _cancels()),
    "cancels_at_period_end": (_subscribes(), "5d", _cancels(at_period_end=True), _MONTH),
    "keeps_after_all": (
        _subscribes(),
        "5d",
        _cancels(at_period_end=True),
        "1d",
        lambda stripe, buyer: stripe.keep(buyer.subject),
        _MONTH,
    ),
    "comes_back": (_subscribes(), "5d", _cancels(), "60d", _subscribes()),
    "pauses": (
        _subscribes(),
        "5d",
        lambda stripe, buyer: stripe.pause(buyer.subject),
        "10d",
        lambda stripe, buyer: stripe.resume(buyer.subject),
    ),
    "refunded": (_subscribes(), "1d", lambda stripe, buyer: stripe.refund(buyer.subject)),
    "loses_dispute": (
        _subscribes(),
        "5d",
        lambda stripe, buyer: stripe.dispute(buyer.subject),
        "10d",
        lambda stripe, buyer: stripe.settle_dispute(buyer.subject, won=False),
    ),
    "deleted": (_subscribes(), "5d", lambda stripe, buyer: stripe.delete_customer(buyer.subject)),
}
