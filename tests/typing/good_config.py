"""A user's configuration that type checkers must find nothing wrong with, and that must run."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, assert_type

from skene.definitions import (
    UNLIMITED,
    ApiTrigger,
    Billed,
    BlockAction,
    EmailAction,
    FeatureCondition,
    FixedPeriod,
    FunctionCondition,
    GrantAction,
    Loop,
    PlanLimit,
    Recovery,
    RollingPeriod,
    Step,
    Unlimited,
    UsageCondition,
    UsageLevelCondition,
    Wait,
    action,
    billed,
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
    wait,
)
from skene.definitions.action import Action, FiringAction
from skene.definitions.condition import Condition
from skene.definitions.trigger import Trigger
from skene.engine.occasion import Occasion
from skene.ports.notifier import Profile

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


assert_type(billed(meter="api_calls"), Billed)
pay_as_you_go = condition.usage(
    limit={"free": 100, "pro": UNLIMITED, "paid": billed(included=1000, meter="api_calls", cap=5000)},
    period=billing_cycle(),
)
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


async def has_started(occasion: Occasion) -> bool:
    return occasion.plan == "free"


def is_old(occasion: Occasion) -> bool:
    return "created_at" in occasion.row


async def tell_sales(occasion: Occasion) -> None:
    assert occasion.subject


welcome = action.email("activation_welcome", provider="resend", transactional=False)
drip = define_loop(
    type="activation",
    steps=[
        step(
            trigger=trigger.database(
                "shop.orders",
                event="update",
                columns=["status"],
                where={"status": "paid", "test": False, "amount": 5, "note": None},
                subject="user_id",
                capture=["status"],
            ),
            condition=condition.query("SELECT 1 FROM users WHERE id = $1", timeout=timedelta(minutes=5)),
            action=[
                welcome,
                action.webhook("crm", "user.activated", payload={"name": "{{user.name}}"}),
                action.grant(50, meter="calls", expires="90d", reason="invited a friend"),
                action.function(tell_sales, repeatable=True),
                action.function(print),
            ],
            then=wait("2d"),
            cooldown="7d",
            max_fires=3,
        ),
        step(action=welcome, then="12h"),
        step(
            condition=condition.all_of(
                condition.any_of(condition.function(has_started, timeout="1h"), condition.function(is_old)),
                condition.not_(condition.usage(under=1)),
                condition.usage(at=0.8, under=1.0, meter="calls"),
                condition.plan("free", "trial"),
            ),
            action=(welcome, action.grant(5)),
        ),
        step(trigger=trigger.event("project.created"), action=welcome),
        step(trigger=trigger.webhook("crm", subject="data.id", event="deal.won"), action=welcome),
        step(
            trigger=trigger.event("plan.changed"),
            condition=condition.plan(changed_from="trial", changed_to=["paid", "team"]),
            action=welcome,
        ),
    ],
    goal=trigger.event("project.finished"),
)
dormant = define_loop(
    type="retention",
    steps=[
        step(
            trigger=trigger.schedule("0 9 * * *", timezone="Europe/Helsinki", grace=timedelta(hours=2)),
            condition=condition.query("SELECT * FROM users", timeout="10m", subject="id", max_rows=500),
            action=welcome,
            cooldown=timedelta(days=7),
        )
    ],
    goal=condition.query("SELECT 1 FROM visits WHERE user_id = $1"),
)

assert_type(freemium, Loop)
assert_type(freemium.steps, tuple[Step, ...])
assert_type(freemium.steps[0].trigger, Trigger | None)
assert_type(freemium.steps[0].condition, Condition | None)
assert_type(freemium.steps[0].action, Action | tuple[Action, ...])
assert_type(freemium.steps[0].actions, tuple[Action, ...])
assert_type(freemium.steps[0].limit, tuple[UsageCondition | FeatureCondition, BlockAction] | None)
assert_type(trigger.api("/x"), ApiTrigger)
assert_type(condition.usage(limit={"free": 1}, period="1d"), UsageCondition)
assert_type(condition.usage(limit={"free": 1}, period="1d").limit, Mapping[str, PlanLimit])
assert_type(condition.usage(limit={"free": billed(meter="calls")}, period="1d"), UsageCondition)
assert_type(condition.feature("priority_support"), FeatureCondition)
assert_type(condition.usage(at=0.8), UsageLevelCondition)
assert_type(condition.usage(under=5, meter="calls"), UsageLevelCondition)
assert_type(condition.function(is_old), FunctionCondition)
assert_type(action.block("No.").upgrade_prompt, EmailAction | None)
assert_type(action.grant(5), GrantAction)
assert_type(wait("2d"), Wait)
assert_type(drip.steps[0].then, Wait | None)
assert_type(freemium.recovery.base, timedelta)
assert_type(freemium.key, str)
assert_type(rolling("1d"), RollingPeriod)
assert_type(freemium.to_json(indent=2), str)
assert_type(dump_loop(freemium), dict[str, Any])
assert_type(load_loop(freemium.to_json()), Loop)


def from_elsewhere(path: Path, text: bytes, settings: dict[str, Any]) -> list[Loop]:
    return [load_loop(path), load_loop(text), load_loop(settings)]


def days(loop: Loop) -> int | None:
    limit = loop.steps[0].limit
    period = limit[0].period if limit and isinstance(limit[0], UsageCondition) else None
    return period.length.days if isinstance(period, FixedPeriod) else None


def mails(several: list[FiringAction]) -> Step:
    return step(trigger=trigger.event("x"), action=several)


async def load_profile(subject: str) -> Profile | None:
    return Profile(email=f"{subject}@acme.test", name=None, team="Blue", seats=3)
