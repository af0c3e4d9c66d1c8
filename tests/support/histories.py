"""Random histories of calls, plans, grants, overrides and reports, and who plays them on a storage."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count

from hypothesis import strategies as st

from skene.engine.standing import Standing
from skene.engine.window import Anchored, Edges, Rolling, WindowRule, calendar_edges
from skene.errors import IdempotencyConflict
from skene.ports.accounts import Update
from skene.ports.counters import BilledUse, Charge, Consume, Counted, Draft, Notice, Receipt
from skene.ports.grants import Grant
from skene.ports.ledger import Wall
from skene.ports.overrides import Override
from skene.ports.storage import Storage
from skene.testing.clock import ManualClock

__all__ = [
    "START",
    "TOO_LATE",
    "Charging",
    "Player",
    "Step",
    "Wait",
    "WaitForTheEnd",
    "billing_steps",
    "edged_rules",
    "in_step",
    "rules",
    "steps",
]

START = datetime(2026, 3, 14, 15, 9, 26, 535897, tzinfo=UTC)
DAY = timedelta(days=1)
FREE = Standing("free")
MICROSECOND = timedelta(microseconds=1)
TOO_LATE = START + 100_000 * DAY
CYCLE = tuple(START + DAY * n for n in (-20, 11, 41, 72))
RULES: tuple[WindowRule, ...] = (
    Anchored(timedelta(days=30)),
    Anchored(timedelta(seconds=7)),
    Rolling(timedelta(days=30)),
    Rolling(timedelta(seconds=61)),
    Edges(calendar_edges("month", "Europe/Helsinki", START)),
    Edges((START - DAY, START + timedelta(hours=7), START + 2 * DAY)),
    Edges(calendar_edges("day", "UTC", START), billing_cycle=True),
    Edges(()),
)
PAUSES = tuple(
    timedelta(seconds=s)
    for s in (-90_000, -3600, -1, 0, 1e-6, 1, 7, 60, 3600, 25_200, 43_200, 86_400, 15 * 86_400, 31 * 86_400)
)
LIMITS: tuple[dict[str, int | None], ...] = (
    {"free": 3, "paid": None},
    {"free": 0, "paid": 5},
    {"free": 7},
    {"free": None, "paid": 4, "gold": 1},
    {"free": 40, "paid": None},
)


@dataclass(frozen=True)
class Wait:
    pause: timedelta


@dataclass(frozen=True)
class WaitForTheEnd:
    """Of the window, or of the oldest part, that was seen last; or nearly so. Then look."""

    off: timedelta


@dataclass(frozen=True)
class Ask:
    """Consume, or peek."""

    charges: tuple[tuple[int, int, int, str | None], ...]  # meter, cost, limits, feature
    key: str | None
    fingerprint: str
    spend: bool


@dataclass(frozen=True)
class Deploy:
    """From now on a meter has another rule."""

    meter: int
    rule: WindowRule


@dataclass(frozen=True)
class Refund:
    which: int
    key: str | None


@dataclass(frozen=True)
class Hold:
    plan: str
    lasts: timedelta | None


@dataclass(frozen=True)
class Warn:
    names: tuple[str, ...]


@dataclass(frozen=True)
class Refuse:
    lasts: timedelta


@dataclass(frozen=True)
class Give:
    """Grant units of a meter."""

    key: str
    meter: int
    units: int
    lasts: timedelta | None


@dataclass(frozen=True)
class Allow:
    """Give the subject a limit of its own, or take it back."""

    meter: int
    limit: int | None
    lasts: timedelta | None
    end: bool


@dataclass(frozen=True)
class Entitle:
    """Fetch what the subject's customer holds."""

    features: tuple[str, ...]


@dataclass(frozen=True)
class Charging:
    """From now on, use on some plans of a meter goes on a bill."""

    meter: int
    plans: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    meter: int
    plan: str
    limit: int


Step = (
    Wait
    | WaitForTheEnd
    | Ask
    | Deploy
    | Refund
    | Hold
    | Warn
    | Refuse
    | Give
    | Allow
    | Entitle
    | Charging
    | Report
)

keys = st.sampled_from((None, None, "k1", "k2"))
charges = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.integers(1, 3),
        st.integers(0, len(LIMITS) - 1),
        st.sampled_from((None, None, "export")),
    ),
    min_size=1,
    max_size=2,
    unique_by=lambda charge: charge[0],
).map(tuple)
lasting = st.sampled_from((DAY, timedelta(hours=1), timedelta(0)))
expiring = st.sampled_from((None, None, DAY, timedelta(seconds=7), timedelta(seconds=61)))
rules = st.sampled_from(RULES)
common: list[st.SearchStrategy[Step]] = [
    st.builds(Ask, charges, st.none(), st.just(""), st.just(True)),
    st.builds(WaitForTheEnd, st.sampled_from((-MICROSECOND, timedelta(0), MICROSECOND))),
    st.builds(Refund, st.integers(0, 1), st.none()),
    st.builds(Wait, st.sampled_from((timedelta(seconds=-61), timedelta(hours=-13)))),
    st.builds(
        Give, st.text("abcdefgh", min_size=1, max_size=1), st.integers(0, 1), st.integers(1, 4), expiring
    ),
]
special: list[st.SearchStrategy[Step]] = [
    st.builds(Allow, st.integers(0, 1), st.none() | st.integers(0, 6), expiring, st.booleans()),
    st.builds(Entitle, st.sampled_from(((), ("export",), ("import", "export")))),
    st.builds(Charging, st.integers(0, 1), st.sampled_from(((), ("free",), ("free", "paid")))),
    st.builds(Report, st.integers(0, 1), st.sampled_from(("free", "free", "paid")), st.integers(1, 2)),
]
rare: list[st.SearchStrategy[Step]] = [
    st.builds(Wait, st.sampled_from(PAUSES)),
    st.builds(Ask, charges, keys, st.sampled_from(("f1", "f1", "f2")), st.booleans()),
    st.builds(Deploy, st.integers(0, 1), rules),
    st.builds(Refund, st.integers(0, 4), keys),
    st.builds(Hold, st.sampled_from(("free", "paid", "gold", "lead")), st.none() | lasting),
    *special,
    st.builds(Warn, st.sampled_from((("half",), ("half", "full")))),
    st.builds(Refuse, lasting),
]
steps = st.one_of(*common, *common, *rare)
# Most use goes on a bill, and there is time to report it.
generous = st.tuples(st.sampled_from((0, 0, 0, 1)), st.integers(1, 3), st.just(len(LIMITS) - 1), st.none())
use: st.SearchStrategy[Step] = st.builds(Ask, st.tuples(generous), st.none(), st.just(""), st.just(True))
give_back: st.SearchStrategy[Step] = st.builds(Refund, st.integers(0, 3), st.none())
billing_steps = st.one_of(use, use, use, give_back, *common[:2], *special, *special[-2:])
edged_rules = st.sampled_from([rule for rule in RULES if not isinstance(rule, Rolling)])


class Player:
    """Plays a history on one storage and keeps its answers."""

    def __init__(
        self, storage: Storage, clock: ManualClock, subject: str, rules: tuple[WindowRule, WindowRule]
    ) -> None:
        self.storage, self.clock, self.subject, self.rules = storage, clock, subject, list(rules)
        self.answers: list[object] = []
        self.receipts: list[Receipt] = []
        self.asked: Ask | None = None
        self.last: Counted | None = None
        self.walls = count(1)
        self.billed: list[tuple[str, ...]] = [(), ()]

    async def bill(self, features: tuple[str, ...] = (), standing: Standing = FREE) -> None:
        """Make the subject a customer with billing periods of its own."""
        ticket = await self.storage.begin_sync(f"cus_{self.subject}")
        assert ticket is not None
        window = timedelta(days=30)
        await self.storage.apply_billing(
            Update(ticket, self.subject, standing, "free", window, cycle=CYCLE, features=features)
        )

    async def play(self, step: Step) -> None:
        match step:
            case WaitForTheEnd() if self.asked is not None:
                self.answers.append(await self.ask(replace(self.asked, key=None, spend=False)))
            case Wait() | WaitForTheEnd():
                pass  # the clock is everybody's
            case Deploy(meter, rule):
                self.rules[meter] = rule
            case Ask():
                self.answers.append(await self.ask(step))
            case Refund(which, key):
                receipts = self.receipts[-which - 2 : -which or None]  # some of the latest
                unique = {receipt.meter: receipt for receipt in receipts}
                await self.storage.refund(self.subject, tuple(unique.values()), key)
            case Hold(plan, lasts):
                standing = Standing(plan, self.clock.now() + lasts if lasts is not None else None)
                self.answers.append(
                    await self.storage.set_plan(self.subject, standing, default_plan="free", attribution=DAY)
                )
            case Warn(names):
                self.answers.append(await self.warn(names))
            case Give(key, meter, units, lasts):
                grant = Grant(key, self.subject, f"m{meter}", units, lasts, "invited", "loop")
                news = await self.storage.grant(grant)
                self.answers.append((news, await self.storage.grants(self.subject)))
            case Refuse(lasts):
                self.answers.append(await self.refuse(lasts))
            case _:
                await self.play_billing(step)

    async def play_billing(self, step: Step) -> None:
        match step:
            case Allow(meter, limit, lasts, end):
                if end:
                    self.answers.append(await self.storage.end_override(self.subject, f"m{meter}"))
                else:
                    override = Override(self.subject, f"m{meter}", limit, lasts, "asked")
                    made = await self.storage.set_override(override)
                    self.answers.append((made, await self.storage.overrides(self.subject)))
            case Entitle(features):
                await self.bill(features, Standing("paid", self.clock.now() + DAY))
            case Charging(meter, plans):
                self.billed[meter] = plans
            case Report(meter, plan, limit):
                use = BilledUse("loop", f"loop.{meter}", f"m{meter}", plan, 2, "units")
                looked = await self.storage.report_billed(use, limit)
                self.answers.append((looked, await self.storage.messages(self.subject)))
            case _:
                raise AssertionError(step)

    async def ask(self, step: Ask) -> Counted | str:
        self.asked = step
        items = tuple(
            Charge(
                f"loop.{meter}",
                f"m{meter}",
                cost,
                LIMITS[limits],
                self.rules[meter],
                feature,
                () if isinstance(self.rules[meter], Rolling) else self.billed[meter],
            )
            for meter, cost, limits, feature in step.charges
        )
        fingerprint = step.fingerprint if step.key else ""
        asked = Consume(self.subject, "free", items, step.key, fingerprint)
        try:
            answer = await (self.storage.consume(asked) if step.spend else self.storage.peek(asked))
        except IdempotencyConflict:
            return "conflict"
        self.last = answer
        self.receipts += [tally.receipt for tally in answer.tallies if tally.receipt]
        return answer

    async def warn(self, names: tuple[str, ...]) -> bool | None:
        if self.last is None:
            return None
        tally, plan = self.last.tallies[0], self.last.plan
        notice = Notice(self.subject, tally.charge.meter, plan, tally.start, names, ())
        return await self.storage.record_notice(notice)

    async def refuse(self, lasts: timedelta) -> str:
        now = self.clock.now()
        wall = Wall(
            f"{self.subject}-w{next(self.walls)}",
            *("loop", "loop.0", self.subject, "free", "m0", 3, 3),
            now,
            now + lasts,
        )
        drafts = (Draft(wall.id, "upgrade_prompt", "loop", "loop.0", self.subject, "free", "mail", "t", {}),)
        return await self.storage.open_wall(wall, drafts)


async def in_step(
    clock: ManualClock,
    history: Sequence[Step],
    model: Player,
    player: Player,
    *,
    customer: bool,
    moved: Callable[[], Awaitable[None]] | None = None,
) -> AsyncGenerator[None]:
    """Play a history twice at once; yields after each step, for a look at what both were told.

    Args:
        clock: that of both.
        history: what happens.
        model, player: who play it.
        customer: both are one at the billing service.
        moved: what is to be done after the clock was moved, before anybody plays.
    """
    for each in (model, player):
        if customer:
            await each.bill()
    for step in history:
        if isinstance(step, Wait):
            clock.advance(step.pause)
        elif isinstance(step, WaitForTheEnd) and model.last and model.last.tallies[-1].end < TOO_LATE:
            clock.set(model.last.tallies[-1].end + step.off)
        if moved is not None:
            await moved()
        await model.play(step)
        await player.play(step)
        yield
