"""`Skene`: the loops and the back-ends, put together."""

import logging
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from hashlib import sha256
from types import TracebackType
from typing import Any, Self

import anyio

from skene.definitions import Fault, Loop
from skene.definitions.units import LARGEST
from skene.engine.decision import Decision
from skene.engine.program import Program, compile_loops, counters_of
from skene.engine.standing import Standing
from skene.errors import ConfigurationError, MeterUnknown, QuotaExceeded, StorageError
from skene.ports.accounts import Applied
from skene.ports.billing import Billing
from skene.ports.clock import Clock
from skene.ports.ledger import FunnelRow
from skene.ports.notifier import Notifier, ProfileResolver
from skene.ports.storage import Storage
from skene.runtime.gate import Admission, Ask, Gatekeeper, stored
from skene.runtime.hold import Hold
from skene.runtime.links import Links
from skene.runtime.parts import OnStorageError, Parts
from skene.runtime.quiet import QuietLog
from skene.runtime.startup import check_gated, find_faults, step_mails
from skene.runtime.upgrade import Upgrade
from skene.runtime.webhooks import BillingSync
from skene.runtime.worker import Worker

__all__ = ["Runtime"]

DEFAULT_PUBLIC_URL = "http://localhost:8000"
SHUTDOWN = timedelta(seconds=8)


class Runtime:
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
        )
        self._sync = BillingSync(self._parts)
        self._gatekeeper = Gatekeeper(self._parts, self._sync.refresh)
        self._worker = Worker(self._parts)
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
    def clock(self) -> Clock:
        """The clock in use."""
        return self._parts.clock

    @property
    def public_origin(self) -> str:
        """Scheme and host of the address under which people reach the app."""
        return self._parts.links.origin

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

    async def start(self) -> None:
        """Check the configuration and open the back-ends. May be called again.

        Raises:
            ConfigurationError: parts do not fit together; all faults at once.
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

    async def aclose(self) -> None:
        """Close the back-ends, within a few seconds even if one of them hangs. May be called twice."""
        with anyio.move_on_after(SHUTDOWN.total_seconds(), shield=True):
            # On the stack, so that one that fails to close keeps no other from closing; the storage is last.
            async with AsyncExitStack() as stack:
                stack.push_async_callback(self._parts.storage.aclose)
                stack.push_async_callback(self._parts.billing.aclose)
                for notifier in self._parts.notifiers.values():
                    stack.push_async_callback(notifier.aclose)

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
            failure: Exception | None = None
            try:
                async with anyio.create_task_group() as tasks:
                    if self._run_worker:
                        tasks.start_soon(self._worker.run)
                    try:
                        yield
                    except Exception as error:  # noqa: BLE001 - the app's own; raised below, where no group wraps it
                        failure = error
                    finally:
                        tasks.cancel_scope.cancel()
                if failure is not None:
                    raise failure
            finally:
                await self.aclose()
        finally:
            self._running -= 1

    @contextmanager
    def override(
        self,
        *,
        storage: Storage | None = None,
        billing: Billing | None = None,
        notifiers: Mapping[str, Notifier] | Notifier | None = None,
        clock: Clock | None = None,
        profile: ProfileResolver | None = None,
        worker: bool = True,
    ) -> Generator[None]:
        """Swap back-ends, in tests; every task sees the new ones at once, and the old ones return at the end.

        Args:
            notifiers: by name, or one that stands in for every provider.
            worker: False lets the recovery worker stand still; `skene.worker.drain()` delivers what is due.
        """
        parts = self._parts
        before = (parts.storage, parts.billing, parts.notifiers, parts.clock, parts.profile, parts.paused)
        parts.paused = parts.paused or not worker
        parts.storage = storage or parts.storage
        parts.billing = billing or parts.billing
        parts.profile = profile or parts.profile
        self._use_clock(clock or parts.clock)
        if isinstance(notifiers, Mapping):
            parts.notifiers = dict(notifiers)
        elif notifiers is not None:
            names = {*parts.notifiers, *_providers(self.program)} or {"default"}
            parts.notifiers = dict.fromkeys(sorted(names), notifiers)
        try:
            yield
        finally:
            parts.storage, parts.billing, parts.notifiers, _, parts.profile, parts.paused = before
            self._use_clock(before[3])

    def _use_clock(self, clock: Clock) -> None:
        self._parts.clock = clock
        self._parts.links.clock = clock
        self._parts.log = QuietLog(self.logger, clock)

    async def check(self, subject: str, meter: str, units: int = 1) -> Decision:
        """Decide without charging: would `units` be admitted now?

        Raises:
            MeterUnknown: no step counts on this meter.
            StorageUnavailable: the storage is away.
        """
        return (await self._gatekeeper.look(subject, (self._ask(meter, units),)))[0]

    async def consume(
        self, subject: str, meter: str, units: int = 1, *, idempotency_key: str | None = None
    ) -> Decision:
        """Charge and decide. A refusal charges nothing, and asks to upgrade once per window.

        Args:
            subject: who is counted.
            meter: as a step's condition names it.
            units: 1 or more.
            idempotency_key: any text; repeating the same key charges once.

        Raises:
            MeterUnknown: no step counts on this meter.
            IdempotencyConflict: the key was used for another meter or number of units.
            StorageUnavailable: nothing is known to be charged.
            ValueError: units that cannot be counted, or an empty key.
        """
        return (await self._admit(subject, meter, units, idempotency_key)).decision

    @asynccontextmanager
    async def reserve(self, subject: str, meter: str, units: int) -> AsyncGenerator[Hold]:
        """Hold units now, and settle what was really used: `hold.used(n)`.

        Unsettled, all of them stay charged. An exception gives everything back.

        Raises:
            QuotaExceeded: the units are not there; carries the decision.
            MeterUnknown, StorageUnavailable: as `consume`.
        """
        admission = await self._admit(subject, meter, units, None)
        if not admission.decision.allowed:
            raise QuotaExceeded(admission.decision)
        hold = Hold(admission.decision, units)
        try:
            yield hold
        except BaseException:
            await self._gatekeeper.release(admission)
            raise
        if hold.settled is not None and hold.settled < units:
            await self._gatekeeper.release(admission, cost=units - hold.settled)

    def _ask(self, meter: str, units: int) -> Ask:
        if type(units) is not int or not 1 <= units <= LARGEST:  # a bool is no count
            raise ValueError(f"units: got {units!r}; give a whole number from 1 to 2**63-1")
        try:
            return Ask(self.program.metered(meter)[0], units)
        except LookupError as error:
            raise MeterUnknown(str(error)) from None

    async def _admit(self, subject: str, meter: str, units: int, key: str | None) -> Admission:
        ask = self._ask(meter, units)
        if key is None:
            return await self._gatekeeper.admit(subject, (ask,))
        if not key:
            raise ValueError('idempotency_key: got ""; give text that names the call, or None')
        # Hashed as the HTTP edge does it: stores keep keys of 64 plain characters.
        digest = sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
        return await self._gatekeeper.admit(
            subject, (ask,), idempotency_key=digest, fingerprint=f"{meter}:{units}"
        )

    async def usage(self, subject: str) -> tuple[Decision, ...]:
        """How a subject stands with every step: plan, limit, used, when it resets. Read-only.

        A step that is grouped by route has one decision for each route that was used.
        """
        steps = self.program.steps
        if any(step.by_route for step in steps):
            kept = await self._parts.storage.meters(stored(subject))
            steps = tuple(counter for step in steps for counter in counters_of(step, kept))
            if not steps:
                return ()
        return await self._gatekeeper.look(subject, tuple(Ask(step, 1) for step in steps))

    async def set_plan(self, subject: str, plan: str, *, until: datetime | None = None) -> Applied:
        """Put a subject on a plan by hand. Billing's next word about the subject's customer replaces it.

        Raises:
            ValueError: a plan that no limit table knows, or an end without a time zone.
        """
        _check_aware(until=until)
        known = sorted({plan for step in self.program.steps for plan in step.limits})
        if plan not in known:
            raise ValueError(f"plan: got {plan!r}; there are: {', '.join(known)}")
        default = self._parts.default_plan
        return await self._parts.storage.set_plan(
            stored(subject),
            Standing(plan, until, paying=plan != default),
            default_plan=default,
            attribution=self.program.attribution,
        )

    async def link(self, subject: str, customer: str) -> Applied | None:
        """Tie a subject to a customer of the billing service, and take over what that customer pays for.

        Raises:
            BillingUnavailable: tied, but the customer could not be fetched yet; a later webhook or refusal
                will.
            ValueError: no customer's id.
        """
        if not customer:
            raise ValueError(f"customer: got {customer!r}; give the billing service's id, such as cus_…")
        await self._parts.storage.link(stored(subject), customer)
        return await self._sync.sync(customer)

    async def forget(self, subject: str) -> int:
        """Erase a person. Returns how many rows were erased or made anonymous."""
        return await self._parts.storage.forget(stored(subject))

    async def funnel(
        self, *, since: datetime | None = None, until: datetime | None = None, loop: str | None = None
    ) -> tuple[FunnelRow, ...]:
        """Walls, prompts, clicks, checkouts and conversions per loop; see `ports.ledger.FunnelRow`.

        Raises:
            ValueError: an instant without a time zone.
        """
        _check_aware(since=since, until=until)
        return await self._parts.storage.funnel(since=since, until=until, loop=loop)


def _check_aware(**instants: datetime | None) -> None:
    for name, instant in instants.items():
        if instant is not None and instant.tzinfo is None:
            raise ValueError(f"{name}: got {instant!r}; give a time with its zone, e.g. datetime.now(UTC)")


def _providers(program: Program) -> set[str]:
    return {mail.provider for step in program.steps for _, mail in step_mails(step) if mail.provider}


def _link_key(secret: str | bytes | None, billing: Billing, clock: Clock) -> bytes:
    if secret:
        return secret.encode() if isinstance(secret, str) else secret
    # Without any secret, links work in this process until it ends.
    return billing.link_key or "".join(clock.new_id() for _ in range(2)).encode()
