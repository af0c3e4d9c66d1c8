"""skene: growth loops as code, for teams that run FastAPI, Stripe and PostgreSQL.

Write a loop with `define_loop`, give it back-ends with `Skene`, put it in front of routes with
`skene.fastapi.Gate`.
"""

from skene.definitions import (
    UNLIMITED,
    Loop,
    Recovery,
    Step,
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
from skene.definitions.faults import Fault, SkeneError, SkeneWarning
from skene.engine.decision import Decision, Reason
from skene.engine.occasion import Occasion
from skene.errors import (
    BillingError,
    BillingUnavailable,
    CheckoutUnavailable,
    ConditionFailed,
    ConfigurationError,
    DefinitionError,
    DeliveryError,
    DeliveryFailed,
    DeliveryRefused,
    DeliveryUnknown,
    IdempotencyConflict,
    LinkInvalid,
    MeterUnknown,
    QueryError,
    QueryRefused,
    QueryTimeout,
    QuotaExceeded,
    SchemaOutdated,
    StorageError,
    StorageUnavailable,
    SubjectInvalid,
    SyncRunning,
    WebhookRejected,
)
from skene.ports.firings import DecisionRow, Outcome
from skene.ports.grants import Granted
from skene.ports.ledger import FunnelRow
from skene.ports.notifier import Profile
from skene.ports.outbox import MessageState
from skene.ports.overrides import Overridden
from skene.runtime.drift import Drift, SyncReport
from skene.runtime.hold import Hold
from skene.runtime.policy import MailPolicy
from skene.wiring import Skene

__all__ = [
    "UNLIMITED",
    "BillingError",
    "BillingUnavailable",
    "CheckoutUnavailable",
    "ConditionFailed",
    "ConfigurationError",
    "Decision",
    "DecisionRow",
    "DefinitionError",
    "DeliveryError",
    "DeliveryFailed",
    "DeliveryRefused",
    "DeliveryUnknown",
    "Drift",
    "Fault",
    "FunnelRow",
    "Granted",
    "Hold",
    "IdempotencyConflict",
    "LinkInvalid",
    "Loop",
    "MailPolicy",
    "MessageState",
    "MeterUnknown",
    "Occasion",
    "Outcome",
    "Overridden",
    "Profile",
    "QueryError",
    "QueryRefused",
    "QueryTimeout",
    "QuotaExceeded",
    "Reason",
    "Recovery",
    "SchemaOutdated",
    "Skene",
    "SkeneError",
    "SkeneWarning",
    "Step",
    "StorageError",
    "StorageUnavailable",
    "SubjectInvalid",
    "SyncReport",
    "SyncRunning",
    "WebhookRejected",
    "action",
    "billed",
    "billing_cycle",
    "calendar",
    "condition",
    "define_loop",
    "dump_loop",
    "lifetime",
    "load_loop",
    "rolling",
    "step",
    "trigger",
    "wait",
]
