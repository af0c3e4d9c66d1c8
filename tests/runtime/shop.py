"""A Skene on back-ends in memory, whose storage can be cut off, slowed down, or killed at any verb."""

from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import Any

import anyio
import anyio.lowlevel

from skene import UNLIMITED, Decision, Loop, Profile, Recovery, Skene, action, condition, define_loop, step
from skene.adapters.memory import MemoryStorage
from skene.adapters.memory_notifier import MemoryNotifier
from skene.errors import StorageUnavailable
from skene.ports.notifier import Body
from skene.ports.observers import Work
from skene.ports.outbox import MessageState
from skene.runtime.asks import Ask
from skene.testing.clock import ManualClock

BACKENDS = ["asyncio", "trio"]
PEOPLE = [f"user-{n:03}" for n in range(200)]


class Killed(BaseException):
    """The process is gone: nothing that follows in it happens."""


class Wire:
    """The way to a MemoryStorage.

    Attributes:
        verbs: every verb that was called, in order.
        cut: verbs that fail before anything happens; "*" is all of them.
        hold: verbs that happen, and answer only after an event.
        before: what happens just before a verb.
        kill_before, kill_after: the verb at which the process dies; it may be the `n`-th such call.
    """

    def __init__(self, memory: MemoryStorage) -> None:
        self.memory = memory
        self.verbs: list[str] = []
        self.cut: set[str] = set()
        self.hold: dict[str, anyio.Event] = {}
        self.before: dict[str, Callable[[], None]] = {}
        self.kill_before: tuple[str, int] | None = None
        self.kill_after: tuple[str, int] | None = None
        self.dead = False
        self.failure: type[Exception] = StorageUnavailable

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.memory, name)
        return self._over(name, found) if iscoroutinefunction(found) else found

    def count(self, *verbs: str) -> int:
        return sum(self.verbs.count(verb) for verb in verbs)

    def _over(self, verb: str, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def over(*args: Any, **named: Any) -> Any:
            self.verbs.append(verb)
            at = (verb, self.verbs.count(verb))
            self.dead = self.dead or at == self.kill_before
            if self.dead:
                raise Killed
            if verb in self.before:
                self.before[verb]()
            if self.cut & {verb, "*"}:
                raise self.failure("the storage is away")
            await anyio.lowlevel.checkpoint()
            answer = await call(*args, **named)
            if verb in self.hold:
                await self.hold[verb].wait()
            if at == self.kill_after:
                self.dead = True
                raise Killed
            return answer

        return over


class Post(MemoryNotifier):
    """A mail provider that also remembers what was tried.

    Attributes:
        attempts: the key and body of every attempt, refused ones included.
        wire: dies with its process right after the provider took the mail, if `kill` is set.
    """

    def __init__(self, templates: Any = "templates", **options: Any) -> None:
        super().__init__(templates=templates)
        self.attempts: list[tuple[str, Body]] = []
        self.memory: Any = options.get("memory")
        self.kill: Wire | None = None
        self.arrived = anyio.Event()
        self.hold: anyio.Event | None = None
        self.raises: Exception | None = None

    @property
    def remembers_keys(self) -> Any:
        return super().remembers_keys if self.memory is None else self.memory

    async def send(self, body: Body, *, idempotency_key: str) -> str | None:
        self.attempts.append((idempotency_key, body))
        self.arrived.set()
        if self.hold is not None:
            await self.hold.wait()
        if self.raises is not None:
            raise self.raises
        number = await super().send(body, idempotency_key=idempotency_key)
        if self.kill is not None:
            self.kill.dead = True
            raise Killed
        return number


def freemium(limit: Any = 3, *, paid: Any = UNLIMITED, period: Any = "30d", **options: Any) -> Loop:
    """The seed's loop, smaller; keywords go to whichever part has them."""
    parts: dict[str, dict[str, Any]] = {"loop": {}, "block": {}, "step": {}, "usage": {}}
    homes = {"recovery": "loop", "enforce": "loop", "holdout": "loop", "name": "loop", "attribution": "loop"}
    homes |= {"notify_at": "block", "status_code": "block", "warning": "block", "upgrade_prompt": "block"}
    for key, value in options.items():
        parts[homes.get(key, "usage")][key] = value
    parts["block"].setdefault("upgrade_prompt", action.email("upgrade_prompt", provider="mail"))
    parts["usage"].setdefault("meter", "calls")
    parts["loop"].setdefault("recovery", Recovery())
    limits = parts["usage"].pop("limits", {"free": limit, "paid": paid})
    usage = condition.usage(limit=limits, period=period, **parts["usage"])
    return define_loop(
        type="freemium",
        steps=[step(condition=usage, action=action.block("Limit reached.", **parts["block"]))],
        **parts["loop"],
    )


async def profile(subject: str) -> Profile | None:
    return Profile(email=f"{subject}@acme.test", name=subject.title())


class Watching:
    """An observer, on whose account every call goes the long way."""

    def begin(self, work: Work) -> Callable[[], None]:
        return list


class Shop:
    """One process of an app: its Skene, and hands on everything around it."""

    def __init__(self, *loops: Loop, memory: MemoryStorage | None = None, **options: Any) -> None:
        self.clock: ManualClock = options.pop("clock", None) or ManualClock()
        self.memory = memory or MemoryStorage(clock=self.clock)
        self.wire = Wire(self.memory)
        self.mail: Post = options.pop("mail", None) or Post()
        options.setdefault("profile", profile)
        options.setdefault("notifiers", {"mail": self.mail})
        storage: Any = self.wire  # it answers every verb
        self.skene = Skene(
            *(loops or (freemium(),)),
            storage=storage,
            clock=self.clock,
            **options,
        )

    def twin(self, *loops: Loop, **options: Any) -> "Shop":
        """Another process of the same app on the same storage; by default with the same mail provider."""
        options.setdefault("mail", self.mail)
        return Shop(*(loops or self.skene.loops), memory=self.memory, clock=self.clock, **options)

    async def call(self, subject: str = "ada", times: int = 1, units: int = 1) -> Decision:
        """The last decision of several calls."""
        for _ in range(times - 1):
            await self.skene.consume(subject, "calls", units)
        return await self.skene.consume(subject, "calls", units)

    async def refuse(self, *subjects: str) -> None:
        """Bring subjects to their first refusal, so that each has a prompt in the outbox."""
        for subject in subjects or ("ada",):
            while (await self.call(subject)).allowed:
                pass

    async def used(self, subject: str = "ada") -> int:
        return (await self.skene.usage(subject))[0].used

    def messages(self, subject: str | None = None) -> list[tuple[str, MessageState, str | None]]:
        """Kind, state and reason of every message."""
        return [(draft.kind, state, reason) for draft, state, reason in self.memory.posted(subject)]

    def states(self, subject: str | None = None) -> list[MessageState]:
        return [state for _, state, _ in self.messages(subject)]

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _, _ in self.messages()]

    @property
    def reached(self) -> list[str]:
        """The addresses that the provider took mails for, each mail once."""
        return [mail.to for mail in self.mail.sent]


def ask(shop: Shop, units: int = 1) -> tuple[Ask, ...]:
    """Every step of the shop's loops, asked for some units."""
    return tuple(Ask(step, units) for step in shop.skene.program.steps)


async def asked(*subjects: str, **options: Any) -> Shop:
    """A shop with a prompt in the outbox for each subject."""
    shop = Shop(freemium(1, recovery=options.pop("recovery", None)), **options)
    await shop.refuse(*(subjects or ("ada",)))
    return shop


async def drain(shop: Shop) -> int:
    """Deliver what is due."""
    return await shop.skene.worker.drain()
