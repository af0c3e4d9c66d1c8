"""`world()`: an app's own loops on back-ends that live in memory, in a test's hands."""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from skene.adapters.manual import ManualBilling
from skene.adapters.memory import MemoryStorage
from skene.errors import BillingUnavailable, StorageUnavailable, WebhookRejected
from skene.ports.billing import Billing
from skene.ports.hooks import Event
from skene.ports.notifier import ProfileResolver
from skene.testing.clock import ManualClock
from skene.testing.mails import Postbox, keeping
from skene.testing.network import NetworkRefused, NetworkWatch, watched
from skene.testing.worlds import World
from skene.wiring import Skene

if TYPE_CHECKING:
    from skene.testing.stripe_server import FakeStripe

__all__ = ["WorldContext", "world"]

START = datetime(2026, 1, 1, 12, tzinfo=UTC)

_entered: WeakKeyDictionary[Skene, World] = WeakKeyDictionary()


def world(
    skene: Skene,
    *,
    start: datetime = START,
    profile: ProfileResolver | None = None,
    billing: Billing | None = None,
    network: Iterable[str] = (),
) -> "WorldContext":
    """Put a test's world in place of an app's back-ends, while a `with` or `async with` block runs.

    The engine, the gate, the worker, the templates and the Stripe adapter are those of production. Storage
    is a `MemoryStorage`, Stripe a `FakeStripe` in the same process, mails are kept in a list, and time stands
    still until `world.clock` is moved. Every world begins empty.

    Nothing here uses the network. What else does so in the same process, such as an app's own handler, is
    refused with a `NetworkRefused`; where the app swallows it, the end of the block raises it again. This
    machine, private addresses and names without a dot may be reached.

    Args:
        skene: the app's own.
        start: the first present, aware.
        profile: in place of the app's own resolver.
        billing: in place of what would be used: Stripe's stand-in if the app sells through Stripe, with or
            without keys, else plans set by hand.
        network: hosts that may be reached all the same; `*` stands for anything, as in `*.acme.test`.

    Returns:
        What `with` and `async with` enter, to yield a `World`. Entering raises a RuntimeError while the same
        Skene is in another world.

    Raises:
        TypeError: something else than a Skene, or than a list of hosts.
    """
    _check(skene)
    return WorldContext(skene, start, profile, billing, NetworkWatch(network))


class WorldContext:
    """What `world()` returns. Enter it with `with` or `async with`; both are the same."""

    def __init__(
        self,
        skene: Skene,
        start: datetime,
        profile: ProfileResolver | None,
        billing: Billing | None,
        network: NetworkWatch,
    ) -> None:
        self._skene = skene
        self._start = start
        self._profile = profile
        self._billing = billing
        self._network = network
        self._stack = ExitStack()

    def __enter__(self) -> World:
        skene = self._skene
        if skene in _entered:
            raise RuntimeError(
                "this Skene is in a world already; leave that one first, or use it: worlds cannot be nested"
            )
        clock = ManualClock(self._start)
        storage, box, hook = MemoryStorage(clock=clock), Postbox(), _Recorder()
        for reaction, _ in skene.program.reactions.scheduled:
            storage.begin_schedule(reaction.key, self._start)  # ticks from now on are the test's
        billing, stripe = self._stand_in(clock)
        # Everything that can fail is done; from here on the app is in the world.
        self._stack.enter_context(
            skene.override(
                storage=storage,
                billing=billing,
                notifiers={name: keeping(one, box) for name, one in skene.notifiers.items()},
                clock=clock,
                profile=self._profile,
                hooks={"world": hook},
                worker=False,
            )
        )
        self._network.refused.clear()
        self._stack.enter_context(watched(self._network))
        entered = _entered[skene] = World(skene, storage, clock, box, stripe, hook.events)
        self._stack.callback(_entered.pop, skene)
        self._stack.callback(entered.end)
        return entered

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        told = isinstance(error, NetworkRefused)
        if self._network.refused and not told and (error is None or isinstance(error, Exception)):
            raise self._network.refusal() from error

    async def __aenter__(self) -> World:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def _stand_in(self, clock: ManualClock) -> tuple[Billing, "FakeStripe | None"]:
        skene = self._skene
        if self._billing is not None:
            return self._billing, None
        if not skene.prices:
            ours = skene.billing
            return ours if isinstance(ours, ManualBilling) else _by_hand(ours), None
        # Only here: this is what makes an app without Stripe import its SDK.
        from skene.testing.stripe_stand_in import stand_in

        return stand_in(skene, clock, lambda body, headers: _receive(skene, body, headers))


class _Recorder:
    """A hook that remembers what it is told."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    async def handle(self, event: Event) -> None:
        """Remember an event."""
        self.events.append(event)

    async def aclose(self) -> None:
        """Nothing is held."""


def _check(skene: object) -> None:
    if not isinstance(skene, Skene):
        raise TypeError(f"world(…): got a value of type {type(skene).__name__}; give the app's Skene")


def _by_hand(billing: Billing) -> ManualBilling:
    """Somebody's own billing back-end may reach for the network: its plans, set by hand, take its place."""
    return ManualBilling(billing.plans, default=billing.default)


async def _receive(skene: Skene, body: bytes, headers: Mapping[str, str]) -> int:
    """Take a webhook to the app as its route does; the status that it would answer."""
    try:
        await skene.billing_sync.receive(body, headers)
    except WebhookRejected as error:
        return error.status
    except (BillingUnavailable, StorageUnavailable):
        return 503
    return 200
