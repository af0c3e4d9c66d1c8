"""Everything skene raises. Exceptions carry data; nobody has to parse their text.

Each has a `code` that stays, a `fix`, and its section in docs/reference/errors.md.

SkeneError
├── DefinitionError            a loop that cannot mean what was written (also a ValueError)
├── ConfigurationError         parts that do not fit together, found at start-up
├── SubjectInvalid             an id that cannot be counted (empty, not a string, …)
├── MeterUnknown               code asked for a meter that no step defines
├── QuotaExceeded              a refusal, for those who asked for an exception; carries the Decision
├── IdempotencyConflict        the same Idempotency-Key with another request
├── LinkInvalid                a signed link that is forged, expired or for somebody else
├── StorageError
│   ├── StorageUnavailable     cannot be reached, too slow, too busy: worth another try
│   └── SchemaOutdated         the tables are missing or older than this version: `skene db upgrade`
├── QueryError
│   ├── QueryRefused           a condition's SELECT will never work as it is: the reason says why
│   └── QueryTimeout           it was stopped at its time-out
├── ConditionFailed            a condition's function raised, or gave no answer
├── BillingError
│   ├── BillingUnavailable     the billing service did not answer in time
│   ├── SyncRunning            another sync is at work, in this process or in another one
│   ├── WebhookRejected        not from the billing service, or not for us
│   └── CheckoutUnavailable    this back-end sells nothing (plans set by hand, no price to offer)
└── DeliveryError              a message was not sent
    ├── DeliveryFailed         may work later
    ├── DeliveryRefused        will never work: bad address, unverified sender, broken template
    └── DeliveryUnknown        the provider may or may not have accepted it
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from skene.definitions.faults import DefinitionError, Fault, SkeneError

if TYPE_CHECKING:
    from skene.engine.decision import Decision

__all__ = [
    "BillingError",
    "BillingUnavailable",
    "CheckoutUnavailable",
    "ConditionFailed",
    "ConfigurationError",
    "DefinitionError",
    "DeliveryError",
    "DeliveryFailed",
    "DeliveryRefused",
    "DeliveryUnknown",
    "Fault",
    "IdempotencyConflict",
    "LinkInvalid",
    "MeterUnknown",
    "QueryError",
    "QueryRefused",
    "QueryTimeout",
    "QuotaExceeded",
    "SchemaOutdated",
    "SkeneError",
    "StorageError",
    "StorageUnavailable",
    "SubjectInvalid",
    "SyncRunning",
    "WebhookRejected",
]


class ConfigurationError(SkeneError):
    """Parts that are valid alone but do not fit together.

    Attributes:
        faults: every one that was found, in the order of the configuration.
    """

    code = "configuration_invalid"
    fix = (
        "Put right what each line names, then start again; `skene check` shows all of it without "
        "starting anything."
    )

    def __init__(self, faults: Sequence[Fault] | str) -> None:
        self.faults: tuple[Fault, ...] = () if isinstance(faults, str) else tuple(faults)
        if isinstance(faults, str):
            message = faults
        else:
            noun = "fault" if len(self.faults) == 1 else "faults"
            message = "\n".join(
                [f"skene cannot start: {len(self.faults)} {noun}", *(f"  {f}" for f in self.faults)]
            )
        super().__init__(message)


class SubjectInvalid(SkeneError, ValueError):
    """The subject's id is not a non-empty string that can be stored."""

    code = "subject_invalid"
    fix = "Pass the id of whoever is counted: text that is not empty."


class MeterUnknown(SkeneError, LookupError):
    """No step of any loop defines this meter."""

    code = "meter_unknown"
    fix = "Name a meter as a step's condition does; the message lists those there are."


class QuotaExceeded(SkeneError):
    """The subject is at its limit.

    Attributes:
        decision: the refusal, with limit, use and reset.
    """

    code = "quota_exceeded"
    fix = "Tell the subject: `error.decision` has the limit, the use, the reset and a link to upgrade."

    def __init__(self, decision: "Decision") -> None:
        self.decision = decision
        super().__init__(decision.message or f"the limit of {decision.meter} is reached")


class IdempotencyConflict(SkeneError):
    """An Idempotency-Key was used before by the same subject for a different request."""

    code = "idempotency_key_reused"
    fix = "Use a new key for a new request; the same key only repeats the same one."


class LinkInvalid(SkeneError):
    """A signed link is malformed, forged or expired; `reason` says which."""

    code = "link_invalid"
    fix = "Have a new link made; every process that signs or reads links needs the same `SKENE_SECRET`."

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"the link is not valid: {reason}")


class StorageError(SkeneError):
    """The storage failed in a way that is not the caller's doing."""

    code = "storage_failed"
    fix = "Look at the database: the message has its words."


class StorageUnavailable(StorageError):
    """The storage cannot be reached or did not answer in time; nothing is known to be counted.

    Attributes:
        retry_after: when another try makes sense.
    """

    code = "storage_unavailable"
    fix = "Try again after `error.retry_after`, and see that the database runs and can be reached from here."

    def __init__(self, message: str, retry_after: timedelta = timedelta(seconds=1)) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class SchemaOutdated(StorageError):
    """The tables are missing or older than this version needs; run `skene db upgrade`."""

    code = "schema_outdated"
    fix = "Run `skene db upgrade`."


class QueryError(SkeneError):
    """A condition's SELECT did not give an answer."""

    code = "query_failed"
    fix = "Look at the SELECT of the condition: the message has the database's words."


class QueryRefused(QueryError):
    """A condition's SELECT will never work as it is: the same again is useless.

    Attributes:
        reason: why, in the words of the database where it has any. It never holds a value that was bound.
    """

    code = "query_refused"
    fix = "Change the SELECT as the message says; `skene check --database` tries every one."

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"the query does not work: {reason}")


class QueryTimeout(QueryError):
    """A condition's SELECT was stopped, because it took too long."""

    code = "query_timeout"
    fix = "Make the SELECT quicker, mostly with an index, or raise its `timeout`."


class ConditionFailed(SkeneError):
    """A function of yours that a condition asks raised, took too long, or did not say True or False."""

    code = "condition_failed"
    fix = (
        "Look at the function that the condition asks: it must return True or False in time; `skene "
        "log` shows what failed."
    )


class BillingError(SkeneError):
    """The billing service refused or failed."""

    code = "billing_failed"
    fix = "Look at the account of the billing service: the message has its words."


class BillingUnavailable(BillingError):
    """The billing service did not answer in time, or asked to be left alone for a while.

    Attributes:
        retry_after: what the service asked for, if it did.
    """

    code = "billing_unavailable"
    fix = "Try again later, after `error.retry_after` if it is set; until then the plan known last stands."

    def __init__(self, message: str, retry_after: timedelta | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class SyncRunning(BillingError):
    """Another sync is at work, in this process or in another one: plans are being put right already."""

    code = "sync_running"
    fix = "Wait until the other sync is over; plans are being put right already."


class WebhookRejected(BillingError):
    """A webhook that is not authentic, not for this account, or not readable.

    Attributes:
        status: the HTTP status to answer with (400, 401 or 413).
    """

    code = "webhook_rejected"
    fix = (
        "See that the webhook's signing secret is the one of this endpoint, and of the same mode, "
        "test or live."
    )

    def __init__(self, message: str, status: int = 400) -> None:
        self.status = status
        super().__init__(message)


class CheckoutUnavailable(BillingError):
    """There is nothing this back-end can sell to the subject."""

    code = "checkout_unavailable"
    fix = (
        "Map a price to a plan in `plans`, so that there is something to sell; plans set by hand "
        "cannot be bought."
    )


class DeliveryError(SkeneError):
    """A message was not delivered."""

    code = "delivery_error"
    fix = "Look at the message with `skene outbox show`."


class DeliveryFailed(DeliveryError):
    """The provider did not take the message; the same attempt later may work.

    Attributes:
        retry_after: the provider's own wish, if it stated one.
    """

    code = "delivery_failed"
    fix = "Nothing: it is tried again as the loop's recovery says, and then waits for `skene outbox retry`."

    def __init__(self, message: str, retry_after: timedelta | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class DeliveryRefused(DeliveryError):
    """The provider will never take this message; repeating it is useless."""

    code = "delivery_refused"
    fix = "Put right what the provider names (address, sender, template), then `skene outbox retry`."


class DeliveryUnknown(DeliveryError):
    """The connection broke after the message was handed over: it may have been accepted.

    Repeating it is safe only with the same idempotency key, and only while the provider remembers keys.
    """

    code = "delivery_unknown"
    fix = "Look at the provider whether it has the message before `skene outbox retry` sends it once more."
