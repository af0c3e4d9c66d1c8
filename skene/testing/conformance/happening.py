"""Short ways to say what happens to firings and their messages, for the parts of the suite that need them."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from skene.ports.counters import Draft
from skene.ports.firings import (
    Closing,
    Entry,
    Firing,
    FiringState,
    Journey,
    NewFiring,
    Outcome,
    Phase,
    Recorded,
    Repeat,
)
from skene.ports.outbox import Begun, Claimed, MessageState
from skene.ports.outbox import Outcome as Ending
from skene.ports.storage import Storage
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import wall

__all__ = [
    "ACTED",
    "BROKE",
    "DAY",
    "EPISODE",
    "LEASE",
    "SCANNED",
    "SENT",
    "act",
    "begin_journey",
    "entry",
    "fired",
    "mail",
    "post",
    "scan",
    "send",
    "take",
    "take_firing",
]

LEASE = timedelta(seconds=30)
DAY = timedelta(days=1)
ACTED = Closing(Phase.ACTION, Outcome.ACTED)
SCANNED = Closing(Phase.CONDITION, Outcome.SCANNED)
BROKE = Closing(Phase.CONDITION, Outcome.FAILED, "the statement timed out", FiringState.DEAD)
EPISODE = Repeat(episode=True)
SENT = Ending(MessageState.SENT)


def fired(
    key: str = "f1",
    *,
    subject: str = "ada",
    loop: str = "welcome",
    step: str = "welcome.0",
    data: Mapping[str, object] | None = None,
    after: timedelta = timedelta(0),
    journey: str | None = None,
) -> NewFiring:
    """An occurrence of a trigger."""
    return NewFiring(key, loop, step, subject, data or {}, after, journey)


def mail(
    key: str = "m1",
    *,
    subject: str = "ada",
    journey: str | None = None,
    marketing: bool = True,
    loop: str = "welcome",
    channel: str = "resend",
) -> Draft:
    """A mail of a step's action."""
    return Draft(
        key=key,
        kind="email",
        loop=loop,
        step=f"{loop}.0",
        subject=subject,
        plan="free",
        channel=channel,
        template="welcome",
        data={"values": {"name": "Ada"}},
        cancel_on_upgrade=False,
        journey=journey,
        marketing=marketing,
    )


def entry(subject: str = "ada", key: str = "f1", *, outcome: Outcome = Outcome.ACTED) -> Entry:
    """What follows for one subject: one mail, named after the firing and the subject."""
    drafts = (mail(f"{key}:{subject}", subject=subject),) if outcome is Outcome.ACTED else ()
    return Entry(subject, outcome, drafts)


async def take_firing(storage: Storage, lease: timedelta = LEASE) -> Firing:
    """Claim the one firing that is due."""
    _, claimed = await storage.claim_firings(10, lease)
    (firing,) = claimed
    return firing


async def take(storage: Storage) -> Claimed:
    """Claim the one message that is due."""
    (message,) = await storage.claim(10, LEASE)
    return message


async def act(
    storage: Storage,
    key: str = "f1",
    *entries: Entry,
    subject: str = "ada",
    step: str = "welcome.0",
    repeat: Repeat | None = None,
) -> Recorded:
    """Set off a firing and record what follows, all at once; without entries, one mail."""
    assert await storage.emit(subject, (fired(key, subject=subject, step=step),), {}) == 1
    firing = await take_firing(storage)
    entries = entries or (entry(subject, key),)
    return await storage.record(firing, entries, repeat=repeat, closing=ACTED)


async def scan(
    storage: Storage,
    clock: ManualClock,
    subjects: Iterable[str],
    *,
    closing: Closing = SCANNED,
    step: str = "digest.0",
    repeat: Repeat = EPISODE,
) -> int:
    """The next day's tick of a schedule whose query finds the subjects. Returns how many were acted upon."""
    tick = clock.advance(DAY)
    await open_tick(storage, tick, step)
    firing = await take_firing(storage)
    assert firing.tick == tick
    entries = tuple(entry(subject, firing.key) for subject in subjects)
    recorded = await storage.record(firing, entries, repeat=repeat, lease=LEASE)
    assert recorded.held
    assert await storage.record(firing, (), repeat=repeat, closing=closing) == Recorded(held=True)
    return recorded.acted


async def open_tick(storage: Storage, tick: datetime, step: str = "digest.0") -> None:
    """Record a tick with its firing."""
    firing = fired(f"tick:{step}:{tick.isoformat()}", subject="", loop=step.partition(".")[0], step=step)
    assert await storage.open_tick(step, tick, firing)


async def begin_journey(
    storage: Storage,
    name: str = "j1",
    *,
    subject: str = "ada",
    loop: str = "welcome",
    held_out: bool = False,
    shadow: bool = False,
    within: timedelta | None = 7 * DAY,
    mailed: bool = True,
) -> None:
    """Begin a subject's way through a loop, with one mail of it unless the subject is left alone."""
    journey = Journey(name, loop, subject, held_out, shadow, within)
    outcome = Outcome.HELD_OUT if held_out else Outcome.SHADOW if shadow else Outcome.ACTED
    drafts = (mail(f"mail:{name}", subject=subject, journey=name, loop=loop),) if mailed else ()
    await act(
        storage,
        f"begin:{name}",
        Entry(subject, outcome, () if held_out or shadow else drafts, journey=journey),
        subject=subject,
    )


async def post(storage: Storage, clock: ManualClock, *drafts: Draft) -> None:
    """Put messages into the outbox."""
    name = f"of {drafts[0].key}"
    assert await storage.open_wall(wall(clock, name, subject="poster", step=name), drafts) == name


async def send(storage: Storage, message: Claimed, provider_id: str | None = None) -> None:
    """Send a message that is in hand."""
    assert isinstance(await storage.begin_attempt(message, {"to": message.draft.subject}), Begun)
    assert await storage.settle(message, Ending(MessageState.SENT, provider_id=provider_id))
