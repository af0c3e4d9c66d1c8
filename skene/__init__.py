"""skene: growth loops as code, for teams that run FastAPI, Stripe and PostgreSQL.

Write a loop with `define_loop`, give it back-ends with `Skene`, put it in front of routes with
`skene.fastapi.Gate`.
"""

import importlib
import typing

if typing.TYPE_CHECKING:
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

# Each name is loaded when it is first asked for: whoever only writes loops does not wait for what runs them.
_HOMES = {
    "skene.definitions": """
        UNLIMITED Loop Recovery Step action billed billing_cycle calendar condition define_loop
        dump_loop lifetime load_loop rolling step trigger wait
    """,
    "skene.definitions.faults": "Fault SkeneError SkeneWarning",
    "skene.engine.decision": "Decision Reason",
    "skene.engine.occasion": "Occasion",
    "skene.errors": """
        BillingError BillingUnavailable CheckoutUnavailable ConditionFailed ConfigurationError
        DefinitionError DeliveryError DeliveryFailed DeliveryRefused DeliveryUnknown
        IdempotencyConflict LinkInvalid MeterUnknown QueryError QueryRefused QueryTimeout
        QuotaExceeded SchemaOutdated StorageError StorageUnavailable SubjectInvalid SyncRunning
        WebhookRejected
    """,
    "skene.ports.firings": "DecisionRow Outcome",
    "skene.ports.grants": "Granted",
    "skene.ports.ledger": "FunnelRow",
    "skene.ports.notifier": "Profile",
    "skene.ports.outbox": "MessageState",
    "skene.ports.overrides": "Overridden",
    "skene.runtime.drift": "Drift SyncReport",
    "skene.runtime.hold": "Hold",
    "skene.runtime.policy": "MailPolicy",
    "skene.wiring": "Skene",
}


if not typing.TYPE_CHECKING:  # type checkers shall miss names that are not there
    _HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

    def __getattr__(name: str) -> object:
        home = _HOME_OF.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
        value = globals()[name] = getattr(importlib.import_module(home), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
