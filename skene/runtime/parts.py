"""The parts that the runtime works with, in one place so that a test can swap any of them."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from pydantic import JsonValue

from skene.definitions import EmailAction, Recovery
from skene.definitions.triggers import PLAN_CHANGED
from skene.engine.program import Program
from skene.errors import QueryRefused
from skene.ports.accounts import Credit, Customer
from skene.ports.billing import Billing
from skene.ports.clock import Clock
from skene.ports.counters import Draft
from skene.ports.firings import Watcher
from skene.ports.hooks import EventKind, Hook, event_drafts
from skene.ports.notifier import Notifier, ProfileResolver
from skene.ports.observers import Observer
from skene.ports.queries import Queries
from skene.ports.sources import EventSource
from skene.ports.storage import Storage
from skene.runtime.links import Links
from skene.runtime.offering import Offer
from skene.runtime.policy import MailPolicy
from skene.runtime.quiet import QuietLog

__all__ = ["OnStorageError", "Parts"]

OnStorageError = Literal["deny", "allow"]


@dataclass(slots=True)
class Parts:
    """What a running skene is made of.

    Mutable on purpose: `Skene.override` swaps attributes, and every task sees it.

    Attributes:
        program: the compiled loops.
        storage, billing, notifiers, clock: the back-ends.
        profile: resolves a subject to its profile, or None.
        links: signs and reads the links in messages.
        on_storage_error: `deny` raises, `allow` lets calls through uncounted.
        wake: tells the worker that there is something to send.
        paused: the worker in the background stands still; a test that drains the outbox itself wants that.
        log: where warnings go.
        own_queries: runs the queries of conditions, where it is not the storage that does.
        sources: who sends signed webhooks, by name.
        mail: how much marketing mail people get, and when.
        offer: the app's own choice of the plan that an upgrade link sells, or None.
        hooks: who hears of what happens, by name.
        credit: which wall a conversion is credited to.
        observers: who is told of work while it goes on.
        unleased: keeps subjects without leases while something about them changes.
    """

    program: Program
    storage: Storage
    billing: Billing
    notifiers: Mapping[str, Notifier]
    clock: Clock
    profile: ProfileResolver | None
    links: Links
    on_storage_error: OnStorageError
    wake: Callable[[], None]
    log: QuietLog
    paused: bool = False
    own_queries: Queries | None = None
    sources: Mapping[str, EventSource] = field(default_factory=dict[str, EventSource])
    mail: MailPolicy = field(default_factory=MailPolicy)
    offer: Offer | None = None
    hooks: Mapping[str, Hook] = field(default_factory=dict[str, Hook])
    credit: Credit = "last"
    observers: tuple[Observer, ...] = ()
    unleased: Callable[..., AbstractAsyncContextManager[None]] = lambda *_: nullcontext()

    @property
    def default_plan(self) -> str:
        """The plan of those who pay for nothing."""
        return self.billing.default

    @property
    def plans(self) -> tuple[str, ...]:
        """Every plan that anybody may hold."""
        limited = (plan for step in self.program.steps for plan in step.limits)
        return tuple(dict.fromkeys((self.default_plan, *self.billing.plans, *limited)))

    @property
    def watchers(self) -> tuple[Watcher, ...]:
        """The steps that want to hear when a plan changes."""
        return tuple(Watcher(one.loop, one.key) for one in self.program.reactions.listening(PLAN_CHANGED))

    @property
    def hook_names(self) -> tuple[str, ...]:
        """The names of those who hear of what happens."""
        return tuple(self.hooks)

    def tell(
        self, kind: EventKind, subject: str, data: Mapping[str, JsonValue], *about: str
    ) -> tuple[Draft, ...]:
        """The messages that tell every hook of an event of this moment; none without hooks.

        Args:
            kind, subject, data, about: as in `ports.hooks.event_drafts`.
        """
        if not self.hooks:
            return ()
        return event_drafts(self.hook_names, kind, subject, self.clock.now(), data, *about)

    def queries(self) -> Queries:
        """What runs the queries of conditions.

        Raises:
            QueryRefused: the storage has no tables of the app's to ask.
        """
        found: Queries | None = self.own_queries or getattr(self.storage, "queries", None)
        if found is None:
            raise QueryRefused("this storage runs no queries: give Skene(queries=…)")
        return found

    def recovery(self, loop: str) -> Recovery:
        """How patiently a loop's actions are tried again."""
        return self.program.recoveries.get(loop) or Recovery()

    def plan_of(self, known: Customer | None, now: datetime) -> str:
        """The plan that a subject holds at an instant."""
        if known is None or known.plan is None or (known.until is not None and known.until <= now):
            return self.default_plan
        return known.plan

    def channel(self, mail: EmailAction) -> str:
        """The name of the notifier that a mail goes through: the one it names, or the first."""
        return mail.provider or next(iter(self.notifiers))
