"""`Skene`: the loops and the back-ends, put together."""

import logging
from collections.abc import AsyncGenerator, Coroutine, Generator, Mapping, Sequence
from contextlib import (
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self, overload

import anyio

from skene.definitions import Fault, Loop, Unlimited
from skene.engine.program import compile_loops
from skene.errors import ConfigurationError, StorageError
from skene.ports.accounts import Credit
from skene.ports.billing import Billing
from skene.ports.clock import Clock
from skene.ports.hooks import Hook
from skene.ports.notifier import Notifier, ProfileResolver
from skene.ports.observers import Observer
from skene.ports.overrides import Overridden
from skene.ports.queries import Queries
from skene.ports.sources import EventSource
from skene.ports.storage import Storage
from skene.runtime.asking import Asking
from skene.runtime.beside import beside
from skene.runtime.counting import CountingVerbs
from skene.runtime.events import EventVerbs
from skene.runtime.firing import Evaluation
from skene.runtime.gate import Gatekeeper
from skene.runtime.granting import GrantVerbs
from skene.runtime.holding import HoldingVerbs
from skene.runtime.leases import Leases
from skene.runtime.links import Links
from skene.runtime.lookup import LookUps
from skene.runtime.offering import Offer
from skene.runtime.parts import OnStorageError, Parts
from skene.runtime.people import PeopleVerbs
from skene.runtime.policy import MailPolicy
from skene.runtime.quiet import QuietLog
from skene.runtime.simulating import SimulationVerbs
from skene.runtime.startup import (
    DatabaseReport,
    check_database,
    check_gated,
    find_faults,
    look_at_database,
    providers,
)
from skene.runtime.syncing import Syncing, SyncVerbs
from skene.runtime.upgrade import Upgrade
from skene.runtime.webhooks import BillingSync
from skene.runtime.worker import Worker

__all__ = ["Runtime"]

DEFAULT_PUBLIC_URL = "http://localhost:8000"
SHUTDOWN = timedelta(seconds=8)


class Runtime(CountingVerbs, HoldingVerbs, GrantVerbs, PeopleVerbs, EventVerbs, SyncVerbs, SimulationVerbs):
    """Loops at work on given back-ends.

    Users meet it as `skene.Skene`, which adds defaults and `from_env`.
    """

    def __init__(
        self,
        *loops: Loop,
        storage: Storage,
        billing: Billing,
        notifiers: Mapping[str, Notifier],
        clock: Clock,
        profile: ProfileResolver | None = None,
        public_url: str | None = None,
        secret: str | bytes | None = None,
        prefix: str = "/skene",
        on_storage_error: OnStorageError = "deny",
        enforce: bool = True,
        worker: bool = True,
        link_lifetime: timedelta = timedelta(days=30),
        queries: Queries | None = None,
        sources: Mapping[str, EventSource] | None = None,
        mail: MailPolicy | None = None,
        offer: Offer | None = None,
        sync_every: timedelta | None = None,
        hooks: Mapping[str, Hook] | None = None,
        credit: Credit = "last",
        observers: Sequence[Observer] = (),
    ) -> None:
        self.loops = loops
        self.prefix = prefix
        self.program, self._loop_faults = compile_loops(loops, enforce=enforce)
        self._run_worker = worker
        self._running, self.guarded = 0, False  # guarded: a gate stands in front of an app
        self.logger = logging.getLogger("skene")
        base = (public_url or DEFAULT_PUBLIC_URL).rstrip("/") + prefix
        self._parts = Parts(
            program=self.program,
            storage=storage,
            billing=billing,
            notifiers=dict(notifiers),
            clock=clock,
            profile=profile,
            links=Links(_link_key(secret, billing, clock), base, clock, lifetime=link_lifetime),
            on_storage_error=on_storage_error,
            wake=lambda: None,
            log=QuietLog(self.logger, clock),
            own_queries=queries,
            sources=dict(sources or {}),
            mail=mail or MailPolicy(),
            offer=offer,
            hooks=dict(hooks or {}),
            credit=credit,
            observers=tuple(observers),
        )
        self._sync = BillingSync(self._parts)
        self._leases = Leases(self._parts)
        self._parts.unleased = self._leases.unleased
        self._gatekeeper = Gatekeeper(self._parts, LookUps(self._parts, self._sync.sync), self._leases)
        self._plain = self._gatekeeper.plain.by_meter(self.program.steps)
        self._syncing = Syncing(self._parts, self._sync, sync_every)
        evaluation = Evaluation(self._parts, Asking(self._parts, self._gatekeeper))
        self._worker = Worker(self._parts, evaluation, self._syncing.run_if_due)
        self._upgrade = Upgrade(self._parts)
        self._parts.wake = self._worker.wake

    @property
    def storage(self) -> Storage:
        """The storage in use."""
        return self._parts.storage

    @property
    def billing(self) -> Billing:
        """The billing back-end in use."""
        return self._parts.billing

    @property
    def notifiers(self) -> Mapping[str, Notifier]:
        """The notifiers in use, by name."""
        return self._parts.notifiers

    @property
    def hooks(self) -> Mapping[str, Hook]:
        """The hooks in use, by name."""
        return self._parts.hooks

    @property
    def clock(self) -> Clock:
        """The clock in use."""
        return self._parts.clock

    @property
    def public_origin(self) -> str:
        """Scheme and host of the address under which people reach the app."""
        return self._parts.links.origin

    @property
    def links(self) -> Links:
        """Signs and reads the links in messages."""
        return self._parts.links

    @property
    def gatekeeper(self) -> Gatekeeper:
        """Decides; for edges that carry requests."""
        return self._gatekeeper

    @property
    def billing_sync(self) -> BillingSync:
        """Takes webhooks and returns from checkout."""
        return self._sync

    @property
    def upgrade(self) -> Upgrade:
        """Opens checkouts and portals."""
        return self._upgrade

    @property
    def worker(self) -> Worker:
        """Delivers messages."""
        return self._worker

    def faults(self) -> tuple[Fault, ...]:
        """Everything that keeps these parts from working together; empty when they do."""
        return (*self._loop_faults, *find_faults(self._parts, self.prefix))

    async def look_at_database(self) -> DatabaseReport:
        """What the database has to say of the loops: queries that cannot be run, triggers that are missing.

        Raises:
            SchemaOutdated, StorageUnavailable: the database is not ready.
        """
        await self._parts.storage.start()
        return await look_at_database(self._parts)

    async def start(self) -> None:
        """Check the configuration and open the back-ends. May be called again.

        Raises:
            ConfigurationError: parts do not fit together; all faults at once. Or a query that cannot be run
                on the database as it is.
            SchemaOutdated, StorageUnavailable: the database is not ready.
        """
        faults = self.faults()
        if faults:
            raise ConfigurationError(faults)
        try:
            await self._parts.storage.start()
        except StorageError as error:
            # Its message says all; beneath a hundred lines of the driver's own, nobody would find it.
            self.logger.debug("storage does not start", exc_info=error)
            raise error from None
        await check_database(self._parts)

    async def aclose(self) -> None:
        """Close the back-ends, within a few seconds even if one of them hangs. May be called twice."""
        with anyio.move_on_after(SHUTDOWN.total_seconds(), shield=True):
            # On the stack, so that one that fails to close keeps no other from closing; the storage is last.
            async with AsyncExitStack() as stack:
                stack.push_async_callback(self._parts.storage.aclose)
                if self._parts.own_queries is not None:
                    stack.push_async_callback(self._parts.own_queries.aclose)
                stack.push_async_callback(self._parts.billing.aclose)
                for notifier in self._parts.notifiers.values():
                    stack.push_async_callback(notifier.aclose)
                for hook in self._parts.hooks.values():
                    stack.push_async_callback(hook.aclose)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    @asynccontextmanager
    async def lifespan(self, app: Any = None) -> AsyncGenerator[None]:
        """A lifespan for FastAPI: opens the back-ends, runs the worker, closes all. Entering it twice is one.

        Raises:
            ConfigurationError: as `start`; or nothing gates the app, `gate.install(app)` was forgotten.
        """
        check_gated(self.program, app, guarded=self.guarded)
        self._running += 1
        try:
            if self._running > 1:
                yield
                return
            await self.start()
            try:
                worker = beside(self._worker.run) if self._run_worker else nullcontext()
                async with self._leases.open(), worker:
                    yield
            finally:
                await self.aclose()
        finally:
            self._running -= 1

    @overload
    def override(
        self,
        subject: str,
        meter: str,
        limit: int | float | Unlimited | str,
        *,
        expires: timedelta | str | datetime | None = None,
        reason: str = "",
    ) -> Coroutine[Any, Any, Overridden]: ...
    @overload
    def override(
        self,
        *,
        storage: Storage | None = None,
        billing: Billing | None = None,
        notifiers: Mapping[str, Notifier] | Notifier | None = None,
        clock: Clock | None = None,
        profile: ProfileResolver | None = None,
        queries: Queries | None = None,
        hooks: Mapping[str, Hook] | None = None,
        worker: bool = True,
    ) -> AbstractContextManager[None]: ...
    def override(
        self, *whose: Any, **settings: Any
    ) -> Coroutine[Any, Any, Overridden] | AbstractContextManager[None]:
        """Put something else in the place of what is configured: one subject's limit, or the back-ends.

        `await skene.override("ada", "exports", 5000, expires="90d", reason="pilot")` gives a subject another
        limit on a meter, whatever the plan, in place of one given before; every one is kept, with its reason
        (see `overrides`), and `end_override` takes it back.

        `with skene.override(storage=…):` swaps back-ends, in tests; every task sees the new ones at once, and
        the old ones return at the end.

        Args:
            whose: `subject`, `meter` as in `grant`, and `limit`: units per window from 0, or `UNLIMITED`.
            settings: of a limit `expires`, for how long, such as `"90d"`, or until when, an aware datetime
                (None: until it is taken back), and `reason`, for people who look. Of back-ends `storage`,
                `billing`, `clock`, `profile`, `queries`, `notifiers` (by name, or one that stands in for
                every provider), `hooks` (by name, in place of all others; an empty mapping tells nobody),
                and `worker`: False lets the recovery worker stand still; `skene.worker.drain()` delivers
                what is due.

        Raises:
            MeterUnknown: no step counts on this meter.
            ValueError: no limit, no duration, or an instant that has passed or has no time zone.
            StorageUnavailable: nothing is known to be set.
        """
        if whose or "subject" in settings:
            return self._override_limit(*whose, **settings)
        return self._swap(**settings)

    @contextmanager
    def _swap(
        self,
        *,
        storage: Storage | None = None,
        billing: Billing | None = None,
        notifiers: Mapping[str, Notifier] | Notifier | None = None,
        clock: Clock | None = None,
        profile: ProfileResolver | None = None,
        queries: Queries | None = None,
        hooks: Mapping[str, Hook] | None = None,
        worker: bool = True,
    ) -> Generator[None]:
        parts = self._parts
        before = (parts.storage, parts.billing, parts.notifiers, parts.clock, parts.profile, parts.paused)
        own_queries, own_hooks = parts.own_queries, parts.hooks
        # Those of another storage would ask a database that is not in use.
        parts.own_queries = queries or (None if storage is not None else own_queries)
        parts.paused = parts.paused or not worker
        parts.storage = storage or parts.storage
        parts.billing = billing or parts.billing
        parts.profile = profile or parts.profile
        parts.hooks = own_hooks if hooks is None else dict(hooks)
        self._use_clock(clock or parts.clock)
        if isinstance(notifiers, Mapping):
            parts.notifiers = dict(notifiers)
        elif notifiers is not None:
            names = {*parts.notifiers, *providers(self.program)} or {"default"}
            parts.notifiers = dict.fromkeys(sorted(names), notifiers)
        self._gatekeeper.plain.prepare()
        try:
            yield
        finally:
            parts.storage, parts.billing, parts.notifiers, _, parts.profile, parts.paused = before
            parts.own_queries, parts.hooks = own_queries, own_hooks
            self._use_clock(before[3])
            self._gatekeeper.plain.prepare()

    def _use_clock(self, clock: Clock) -> None:
        self._parts.clock = clock
        self._parts.links.clock = clock
        self._parts.log = QuietLog(self.logger, clock)


def _link_key(secret: object, billing: Billing, clock: Clock) -> bytes:
    if not isinstance(secret, str | bytes | None):
        given = f"a value of type {type(secret).__name__}"
        raise ConfigurationError([Fault("Skene(secret=…)", given, "text or bytes that nobody can guess")])
    if secret:
        return secret.encode() if isinstance(secret, str) else secret
    # Without any secret, links work in this process until it ends.
    return billing.link_key or "".join(clock.new_id() for _ in range(2)).encode()
