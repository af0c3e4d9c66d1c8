"""Small loops that firings drive, and what their tests ask of a shop."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from skene import Loop, Recovery, Step, action, condition, define_loop, step, trigger
from skene.engine.occasion import Occasion
from skene.ports.firings import Outcome
from tests.runtime.shop import Shop, drain, freemium

IDLE = "SELECT user_id FROM users WHERE idle"
"""The query of `daily`."""


def mail(template: str = "activation_welcome", **options: Any) -> Any:
    return action.email(template, provider="mail", **options)


def loop(*steps: Step, name: str = "activation", retries: int = 0, **options: Any) -> Loop:
    options.setdefault("recovery", Recovery(retries=retries))
    return define_loop(type="activation", name=name, steps=steps, **options)


def on(event: str = "signed.up", **options: Any) -> Step:
    """A step that an event sets off; a mail, if nothing else is said."""
    options.setdefault("action", mail())
    return step(trigger=trigger.event(event), **options)


def daily(cron: str = "0 13 * * *", **options: Any) -> Step:
    """A step that acts upon whom a query finds, at one o'clock."""
    options.setdefault("action", mail("re_engagement"))
    options.setdefault("condition", condition.query(IDLE))
    return step(trigger=trigger.schedule(cron, **options.pop("at", {})), **options)


def scheduled(*loops: Loop, **options: Any) -> Shop:
    """A shop whose schedules begin now."""
    shop = Shop(*loops, **options)
    for reaction, _ in shop.skene.program.reactions.scheduled:
        shop.memory.begin_schedule(reaction.key, shop.clock.now())
    return shop


def finds(shop: Shop, *subjects: str, query: str = IDLE) -> None:
    """Let a query find some subjects from now on."""
    shop.memory.queries.answer(query, [{"user_id": one} for one in subjects])


def outcomes(shop: Shop, subject: str | None = None) -> list[Outcome]:
    """What was decided, oldest first."""
    return [one.outcome for one in shop.memory.log() if subject in (None, one.subject)]


def reasons(shop: Shop) -> list[str | None]:
    return [one.reason for one in shop.memory.log()]


def got(shop: Shop, subject: str | None = None) -> list[str]:
    """The templates that the provider took, in order; for one subject, or everybody."""
    to = None if subject is None else f"{subject}@acme.test"
    return [one.template for one in shop.mail.sent if to in (None, one.to)]


@contextmanager
def swapped(target: Any, **values: Any) -> Iterator[None]:
    """Some attributes have other values for a while."""
    before = {name: getattr(target, name) for name in values}
    for name, value in values.items():
        setattr(target, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(target, name, value)


def yes(occasion: Occasion) -> bool:
    return True


def no(occasion: Occasion) -> bool:
    return False


async def soon(occasion: Occasion) -> bool:
    return True


def fn(function: Callable[[Any], Any], **options: Any) -> Any:
    return condition.function(function, **options)


async def decided(
    one: Any, *, data: Mapping[str, Any] | None = None, shop: Shop | None = None
) -> list[Outcome]:
    """What comes of a condition that is asked once."""
    shop = shop or Shop(loop(on(condition=one)), freemium())
    await shop.skene.emit("signed.up", "ada", data)
    await drain(shop)
    return outcomes(shop)
