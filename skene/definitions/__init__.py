"""What a user writes: loops, as frozen values, checked when they are made.

`trigger`, `condition` and `action` are namespaces: `trigger.api(…)`, `condition.usage(…)`, `action.block(…)`.
"""

from skene.definitions import action, condition, trigger
from skene.definitions.action import Action, BlockAction, EmailAction, FiringAction
from skene.definitions.actions import FunctionAction, GrantAction, WebhookAction
from skene.definitions.base import Definition
from skene.definitions.billed import Billed, PlanLimit, billed
from skene.definitions.condition import Condition, UsageCondition
from skene.definitions.conditions import (
    AllCondition,
    AnyCondition,
    FeatureCondition,
    FiringCondition,
    FunctionCondition,
    NotCondition,
    PlanCondition,
    QueryCondition,
    UsageLevelCondition,
)
from skene.definitions.faults import DefinitionError, Fault, SkeneError, SkeneWarning
from skene.definitions.load import load_loop
from skene.definitions.loop import Goal, Loop, LoopType, define_loop, dump_loop
from skene.definitions.period import (
    BillingCyclePeriod,
    CalendarPeriod,
    FixedPeriod,
    HeldPeriod,
    LifetimePeriod,
    Period,
    RollingPeriod,
    billing_cycle,
    calendar,
    lifetime,
    rolling,
)
from skene.definitions.recovery import Recovery
from skene.definitions.step import Step, Wait, step, wait
from skene.definitions.trigger import ApiTrigger, Trigger
from skene.definitions.triggers import (
    AnyFiringTrigger,
    DatabaseTrigger,
    EventTrigger,
    ScheduleTrigger,
    WebhookTrigger,
)
from skene.definitions.units import UNLIMITED, Unlimited, format_duration, parse_duration, parse_limit

__all__ = [
    "UNLIMITED",
    "Action",
    "AllCondition",
    "AnyCondition",
    "AnyFiringTrigger",
    "ApiTrigger",
    "Billed",
    "BillingCyclePeriod",
    "BlockAction",
    "CalendarPeriod",
    "Condition",
    "DatabaseTrigger",
    "Definition",
    "DefinitionError",
    "EmailAction",
    "EventTrigger",
    "Fault",
    "FeatureCondition",
    "FiringAction",
    "FiringCondition",
    "FixedPeriod",
    "FunctionAction",
    "FunctionCondition",
    "Goal",
    "GrantAction",
    "HeldPeriod",
    "LifetimePeriod",
    "Loop",
    "LoopType",
    "NotCondition",
    "Period",
    "PlanCondition",
    "PlanLimit",
    "QueryCondition",
    "Recovery",
    "RollingPeriod",
    "ScheduleTrigger",
    "SkeneError",
    "SkeneWarning",
    "Step",
    "Trigger",
    "Unlimited",
    "UsageCondition",
    "UsageLevelCondition",
    "Wait",
    "WebhookAction",
    "WebhookTrigger",
    "action",
    "billed",
    "billing_cycle",
    "calendar",
    "condition",
    "define_loop",
    "dump_loop",
    "format_duration",
    "lifetime",
    "load_loop",
    "parse_duration",
    "parse_limit",
    "rolling",
    "step",
    "trigger",
    "wait",
]
