"""Apps whose own back-ends fail when they are touched."""

from typing import Any

from skene import (
    UNLIMITED,
    Decision,
    Loop,
    Profile,
    Recovery,
    Skene,
    action,
    condition,
    define_loop,
    step,
    trigger,
)
from skene.adapters.resend import ResendNotifier
from skene.adapters.stripe import StripeBilling


class Untouchable:
    """A back-end that no test may reach."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the app's own back-end was asked for {name!r}")


def freemium(**changes: Any) -> Loop:
    usage: dict[str, Any] = {"limit": {"free": 3, "paid": UNLIMITED}, "period": "30d", "meter": "calls"}
    return define_loop(
        type="freemium",
        steps=[
            step(
                trigger=trigger.api("/api/*", optional=True),
                condition=condition.usage(**usage | changes),
                action=action.block(
                    "limit", upgrade_prompt=action.email("upgrade_prompt", provider="resend")
                ),
            )
        ],
        recovery=Recovery(retries=1),
    )


async def profile(subject: str) -> Profile:
    return Profile(email=f"{subject}@acme.test", name=subject)


def stripe(**changes: Any) -> StripeBilling:
    settings: dict[str, Any] = {
        "api_key": "sk_live_of0the0app0itself",
        "webhook_secret": "whsec_of0the0app0itself",
        "plans": {"price_123": "paid"},
    }
    return StripeBilling(**settings | changes)


def app(*loops: Loop, **changes: Any) -> Skene:
    """A Skene on back-ends that fail when they are touched."""
    parts: dict[str, Any] = {
        "storage": Untouchable(),
        "billing": stripe(),
        "notifiers": {"resend": ResendNotifier(api_key="re_of0the0app", sender="Acme <team@acme.test>")},
        "profile": profile,
        "public_url": "https://app.acme.test",
    }
    return Skene(*(loops or (freemium(),)), **parts | changes)


async def call(skene: Skene, subject: str = "ada", times: int = 1) -> Decision:
    """What the last of several calls was told."""
    told = [await skene.consume(subject, "calls") for _ in range(times)]
    return told[-1]
