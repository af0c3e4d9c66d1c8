"""What a user writes: loops, as frozen values, checked when they are made.

`trigger`, `condition` and `action` are namespaces: `trigger.api(…)`, `condition.usage(…)`, `action.block(…)`.
"""

from skene.definitions import action, condition, trigger
from skene.definitions.action import BlockAction, EmailAction
from skene.definitions.base import Definition
from skene.definitions.condition import UsageCondition
from skene.definitions.faults import DefinitionError, Fault, SkeneError, SkeneWarning
from skene.definitions.load import load_loop
from skene.definitions.loop import Loop, Step, define_loop, dump_loop, step
from skene.definitions.period import (
    BillingCyclePeriod,
    CalendarPeriod,
    FixedPeriod,
    LifetimePeriod,
    Period,
    RollingPeriod,
    billing_cycle,
    calendar,
    lifetime,
    rolling,
)
from skene.definitions.recovery import Recovery
from skene.definitions.trigger import ApiTrigger
from skene.definitions.units import UNLIMITED, Unlimited, format_duration, parse_duration, parse_limit

__all__ = [
    "UNLIMITED",
    "ApiTrigger",
    "BillingCyclePeriod",
    "BlockAction",
    "CalendarPeriod",
    "Definition",
    "DefinitionError",
    "EmailAction",
    "Fault",
    "FixedPeriod",
    "LifetimePeriod",
    "Loop",
    "Period",
    "Recovery",
    "RollingPeriod",
    "SkeneError",
    "SkeneWarning",
    "Step",
    "Unlimited",
    "UsageCondition",
    "action",
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
]
