"""A user's configuration that type checkers must find nothing wrong with, and that must run."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, assert_type

from skene.definitions import (
    UNLIMITED,
    ApiTrigger,
    BlockAction,
    EmailAction,
    FixedPeriod,
    Loop,
    Recovery,
    RollingPeriod,
    Step,
    Unlimited,
    UsageCondition,
    action,
    billing_cycle,
    calendar,
    condition,
    define_loop,
    dump_loop,
    lifetime,
    load_loop,
    rolling,
    step,
    trigger,
)

freemium = define_loop(
    type="freemium",
    opinion="Enforce usage limits for free tier users and trigger upgrade prompts",
    steps=[
        step(
            trigger=trigger.api("/api/features/*", method="POST"),
            condition=condition.usage(limit={"free": 100, "paid": UNLIMITED}, period="30d"),
            action=action.block(
                "You've reached your free tier limit. Upgrade to continue.",
                upgrade_prompt=action.email("upgrade_prompt", provider="resend"),
            ),
        ),
    ],
    recovery=Recovery(retries=0),  # No retries for blocking actions
)


async def tokens(request: Any) -> int:
    return int(request.headers.get("x-tokens", "1"))


def size(request: Mapping[str, Any]) -> int:
    return len(request)


limits: dict[str, int | Unlimited] = {"free": 5, "team": 500, "paid": UNLIMITED}

everything = define_loop(
    type="freemium",
    name="everything",
    steps=(
        step(
            name="windows",
            condition=condition.usage(
                limit=limits, period=timedelta(days=30), meter="exports", group_by="route"
            ),
            action=action.block("No.", status_code=429, notify_at=(0.8, 1.0), warning=action.email("nearly")),
        ),
        step(
            trigger=trigger.api("/a/*/b", method=["GET", "POST"], optional=True),
            condition=condition.usage(
                limit={"free": 0}, period=rolling("30d"), cost=tokens, charge="attempt"
            ),
            action=action.block("No.", notify_at=[0.5]),
        ),
        step(
            condition=condition.usage(
                limit={"free": 1}, period=calendar("month", timezone="Europe/Helsinki"), cost=size
            ),
            action=action.block(
                "No.",
                upgrade_prompt=action.email("a", personalization={"name": "{{user.name}}"}, subject="Hello"),
            ),
        ),
        step(
            condition=condition.usage(
                limit={"free": 1}, period=billing_cycle(), cost=lambda request: 2 * len(request)
            ),
            action=action.block("No."),
        ),
        step(
            condition=condition.usage(limit={"free": 1}, period=lifetime(), cost=2),
            action=action.block("No."),
        ),
    ),
    recovery=Recovery(retries=3, backoff="fixed", base="2s", cap=timedelta(minutes=1)),
    enforce=False,
    holdout=0.1,
    attribution=timedelta(days=14),
)

assert_type(freemium, Loop)
assert_type(freemium.steps, tuple[Step, ...])
assert_type(freemium.steps[0].trigger, ApiTrigger | None)
assert_type(freemium.steps[0].condition, UsageCondition)
assert_type(freemium.steps[0].condition.limit, Mapping[str, int | Unlimited])
assert_type(freemium.steps[0].action, BlockAction)
assert_type(freemium.steps[0].action.upgrade_prompt, EmailAction | None)
assert_type(freemium.recovery.base, timedelta)
assert_type(freemium.key, str)
assert_type(rolling("1d"), RollingPeriod)
assert_type(freemium.to_json(indent=2), str)
assert_type(dump_loop(freemium), dict[str, Any])
assert_type(load_loop(freemium.to_json()), Loop)


def from_elsewhere(path: Path, text: bytes, settings: dict[str, Any]) -> list[Loop]:
    return [load_loop(path), load_loop(text), load_loop(settings)]


def days(loop: Loop) -> int | None:
    period = loop.steps[0].condition.period
    return period.length.days if isinstance(period, FixedPeriod) else None
