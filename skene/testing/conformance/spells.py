"""Conversions over time: how they are dated, credited, ended and refunded, and what hooks hear of it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from skene.engine.standing import Standing, Subscription
from skene.ports.accounts import Applied, Credit
from skene.ports.billing import Refund
from skene.ports.firings import Closing, Entry, Journey, NewFiring, Outcome, Phase
from skene.ports.hooks import EventKind
from skene.ports.ledger import Conversion
from skene.ports.storage import Storage
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import (
    ATTRIBUTION,
    FREE,
    MICROSECOND,
    PAYING,
    ConformanceBase,
    draft,
    refuse_once,
    set_plan,
    update,
    wall,
)

DAY = timedelta(days=1)
HOOKS = ("warehouse",)


async def told(
    storage: Storage,
    standing: Standing = PAYING,
    *,
    started_at: datetime | None = None,
    credit: Credit = "last",
    refund: Refund | None = None,
    event: str | None = None,
    subject: str = "ada",
) -> Applied:
    """What a webhook brings, hooks listening."""
    if standing.paying:
        paid = Subscription("sub_1", "active", standing.plan, amount=1900, currency="eur")
        standing = replace(standing, subscription=replace(paid, started_at=started_at))
    ticket = await storage.begin_sync(f"cus_{subject}", event)
    fetched = update(ticket, standing, subject=subject, event=event)
    return await storage.apply_billing(replace(fetched, credit=credit, refund=refund, hooks=HOOKS))


async def spells(storage: Storage) -> list[tuple[datetime, datetime | None, bool]]:
    """When paying began and ended, and whether it had before."""
    return [(one.converted_at, one.ended_at, one.again) for one in await storage.conversion_rows()]


async def heard(storage: Storage, kind: EventKind, subject: str = "ada") -> list[object]:
    """The data of the events of a kind, in the order they were written."""
    return [one.data["data"] for one, _, _ in await storage.messages(subject) if one.template == kind]


class SpellConformance(ConformanceBase):
    """From the beginning to the end of paying."""

    async def test_a_late_webhook_is_dated_by_the_payment(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 20: the wall before the payment is credited, not one that opened since."""
        await storage.open_wall(wall(clock, "before"), ())
        paid = clock.advance(DAY)
        clock.advance(2 * DAY)
        await storage.open_wall(wall(clock, "since", step="other.0"), ())
        clock.advance(DAY)
        assert (await told(storage, started_at=paid)).wall == "before"
        (one,) = await storage.conversion_rows()
        assert (one.converted_at, one.time_to_pay, one.again) == (paid, DAY, False)

    async def test_who_paid_long_ago_is_nobodys_merit(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 20: a wall that opened after paying began did not bring it about."""
        await storage.open_wall(wall(clock), ())
        long_ago = clock.now() - 400 * DAY
        assert (await told(storage, started_at=long_ago)).wall is None
        assert await spells(storage) == [(long_ago, None, False)]
        (row,) = await storage.funnel(until=clock.now())
        assert (row.loop, row.conversions) == (None, 1)

    async def test_a_wall_of_the_same_second_comes_before(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 20: billing counts in whole seconds."""
        second = clock.now()
        opened = clock.advance(timedelta(milliseconds=700))
        await storage.open_wall(wall(clock), ())
        clock.advance("1m")
        assert (await told(storage, started_at=second)).wall == "w1"
        assert (await spells(storage))[0][0] == opened

    async def test_a_date_that_cannot_be_is_none(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 20: before the last lapse, or in the future, it says nothing of this time."""
        began = clock.now()
        await told(storage, started_at=began)
        lapse = clock.advance(DAY)
        await told(storage, FREE)
        back = clock.advance(DAY)
        await told(storage, started_at=began)
        await told(storage, started_at=back + DAY, subject="bob")
        assert await spells(storage) == [(began, lapse, False), (back, None, True), (back, None, False)]

    async def test_those_of_one_subject(self, storage: Storage, clock: ManualClock) -> None:
        """Contract of `conversion_rows`: in order, whoever else paid in between; also by a former name."""
        for subject, standing in (("ada", PAYING), ("bob", PAYING), ("ada", FREE), ("ada", PAYING)):
            await told(storage, standing, subject=subject)
            clock.advance(DAY)
        theirs = await storage.conversion_rows(subject="ada")
        assert [(one.subject, one.again) for one in theirs] == [("ada", False), ("ada", True)]
        assert await storage.conversion_rows(subject="ada", after=theirs[0].number) == theirs[1:]
        assert await storage.conversion_rows(subject="nobody") == ()
        await storage.merge("visitor", "ada")
        assert await storage.conversion_rows(subject="visitor") == theirs

    async def test_the_first_wall_can_be_credited(self, storage: Storage, clock: ManualClock) -> None:
        """Contract of `credit`: the first within the time, or the last."""
        for subject in ("ada", "bob"):
            await storage.open_wall(wall(clock, f"{subject}-old", subject=subject), ())
        clock.advance(ATTRIBUTION)
        for name in ("one", "two"):
            clock.advance(DAY)
            for subject in ("ada", "bob"):
                await storage.open_wall(wall(clock, f"{subject}-{name}", subject=subject, step=name), ())
        assert (await told(storage, credit="first")).wall == "ada-one"
        assert (await told(storage, subject="bob")).wall == "bob-two"
        given = await storage.set_plan(
            "cy", PAYING, default_plan="free", attribution=ATTRIBUTION, credit="first"
        )
        assert given.wall is None

    async def test_every_way_to_stop_paying_ends_it(self, storage: Storage, clock: ManualClock) -> None:
        """A conversion that has not ended is somebody who pays, and there is one of each at most."""
        begun = clock.now()
        for subject in ("webhook", "hand", "linked", "lapsed", "unnoticed", "trial"):
            await told(storage, subject=subject)
        until = begun + DAY
        for subject in ("lapsed", "unnoticed"):
            await told(storage, Standing("paid", until, paying=True), subject=subject)
        now = clock.advance(2 * DAY)
        await told(storage, FREE, subject="webhook")
        await set_plan(storage, FREE, subject="hand")
        await storage.link("another", "cus_linked")
        await told(storage, subject="unnoticed")  # comes back before anybody has noted the end
        assert await storage.note_lapses((), 10) == 1
        await told(storage, Standing("paid"), subject="trial")
        ended = {one.subject: one.ended_at for one in await storage.conversion_rows() if not one.again}
        assert ended == {
            **dict.fromkeys(("webhook", "hand", "linked", "trial"), now),
            **dict.fromkeys(("lapsed", "unnoticed"), until),
            "another": None,
        }
        (again,) = [one for one in await storage.conversion_rows() if one.again]
        assert (again.subject, again.converted_at, again.ended_at) == ("unnoticed", now, None)
        (row,) = await storage.funnel()
        assert (row.conversions, row.reconversions, row.churned) == (8, 1, 6)

    async def test_refunds_count_once_in_any_order(self, storage: Storage, clock: ManualClock) -> None:
        """The most that was told of a payment stands, with the conversion that has it or the latest."""
        await refuse_once(storage, clock)
        await told(storage)
        for payment, amount in (("pi_1", 500), ("pi_1", 1900), ("pi_1", 1900), ("pi_2", 100), ("pi_1", 500)):
            await told(storage, refund=Refund(payment, amount, "eur"))
        await told(storage, refund=Refund("pi_3", 7, "usd"))  # told, and not counted
        await told(storage, FREE)
        clock.advance(DAY)
        await told(storage)
        await told(storage, refund=Refund("pi_2", 150, "eur"))
        await told(storage, refund=Refund("pi_4", 10, "eur"))
        assert [one.refunded for one in await storage.conversion_rows()] == [2050, 10]
        (row,) = await storage.funnel()
        assert (row.refunded, row.revenue) == ((("eur", 2060),), (("eur", 3800),))
        amounts = [(one["payment"], one["amount"]) for one in await _refunds(storage)]
        assert amounts == [
            *(("pi_1", 500), ("pi_1", 1900), ("pi_2", 100), ("pi_3", 7), ("pi_2", 150), ("pi_4", 10))
        ]

    async def test_conversions_come_in_pages(self, storage: Storage, clock: ManualClock) -> None:
        """Each once, in the order they were recorded, whatever their dates; who was forgotten has no name."""
        now = clock.now()
        for n in range(7):
            await told(storage, subject=f"s{n}", started_at=now - n * DAY)
        await storage.forget("s3")
        found: list[Conversion] = []
        while page := await storage.conversion_rows(limit=3, after=found[-1].number if found else None):
            found += page
        assert [one.subject for one in found] == ["s0", "s1", "s2", "", "s4", "s5", "s6"]
        dated = await storage.conversion_rows(since=now - 2 * DAY, until=now)
        assert [one.subject for one in dated] == ["s1", "s2"]

    async def test_a_report_by_period(self, storage: Storage, clock: ManualClock) -> None:
        """Weeks begin on Monday, all periods are of UTC; the earliest comes first."""
        clock.set(datetime(2026, 3, 1, 23, 59, 59, 999_999, tzinfo=UTC))  # a Sunday
        await storage.open_wall(wall(clock, "w1", loop="b", step="b.0"), ())
        await storage.open_wall(wall(clock, "w2", loop="a", step="a.0", held_out=True), ())
        monday = clock.advance(MICROSECOND)
        await storage.open_wall(wall(clock, "w3", subject="bob", loop="b", step="b.0"), ())
        await told(storage, subject="bob")
        await told(storage, subject="cy")
        periods = {
            "day": (datetime(2026, 3, 1, tzinfo=UTC), monday),
            "week": (datetime(2026, 2, 23, tzinfo=UTC), monday),
        }
        for by, (early, late) in periods.items():
            rows = await storage.funnel(by="day" if by == "day" else "week")
            assert [(row.period, row.loop) for row in rows] == [
                *((early, "a"), (early, "b"), (late, "b"), (late, None))
            ]
            assert [row.conversions for row in rows] == [0, 0, 1, 1]
            assert [row.subjects for row in rows] == [1, 1, 1, 0]
        months = await storage.funnel(by="month")
        month = datetime(2026, 3, 1, tzinfo=UTC)
        assert [(row.period, row.loop, row.subjects) for row in months] == [
            *((month, "a", 1), (month, "b", 2), (month, None, 0))
        ]


async def _refunds(storage: Storage) -> list[dict[str, object]]:
    found = await heard(storage, EventKind.REFUNDED)
    return [one for one in found if isinstance(one, dict)]


class HookConformance(ConformanceBase):
    """What hooks hear of: written with what it tells of, once."""

    async def test_a_life_of_paying(self, storage: Storage, clock: ManualClock) -> None:
        """One event for each change, however often a webhook comes; none without hooks."""
        begun = clock.now()
        for event in ("evt_1", "evt_2", "evt_3"):
            await told(storage, event=event)
        end = begun + DAY
        await told(storage, Standing("paid", end, paying=True))
        clock.advance(2 * DAY)
        assert await storage.note_lapses((), 10, hooks=HOOKS) == 1
        await told(storage)
        changes = [{"from": "free", "to": "paid"}, {"from": "paid", "to": "free"}]
        assert await heard(storage, EventKind.PLAN_CHANGED) == [*changes, changes[0]]
        (churn,) = await heard(storage, EventKind.CHURNED)
        first, second = await heard(storage, EventKind.CONVERTED)
        assert isinstance(first, dict)
        assert isinstance(second, dict)
        assert isinstance(churn, dict)
        assert (first["again"], second["again"], first["amount"]) == (False, True, 1900)
        assert (churn["conversion"], churn["ended_at"]) == (first["conversion"], end.isoformat())
        await set_plan(storage, PAYING, subject="bob")
        assert await storage.messages("bob") == ()

    async def test_changes_of_one_instant_are_told_apart(self, storage: Storage) -> None:
        """A clock may stand still."""
        for standing in (PAYING, FREE, PAYING, FREE):
            await told(storage, standing)
        assert len(await heard(storage, EventKind.PLAN_CHANGED)) == 4
        assert len(await heard(storage, EventKind.CONVERTED)) == 2
        keys = [one.key for one, _, _ in await storage.messages()]
        ids = [one.data["id"] for one, _, _ in await storage.messages()]
        assert len(set(keys)) == len(set(map(str, ids))) == len(keys) == 8

    async def test_marks_write_their_messages_once(self, storage: Storage, clock: ManualClock) -> None:
        """The first click and the first checkout, and none of a wall that is not there."""
        await storage.open_wall(wall(clock), ())
        for n in range(3):
            await storage.mark_clicked("w1", (draft(f"click{n}"),))
            await storage.mark_checkout("w1", "cs_1", (draft(f"checkout{n}"),))
            await storage.mark_clicked("w9", (draft(f"lost{n}"),))
        assert [one.key for one, _, _ in await storage.messages()] == ["click0", "checkout0"]

    async def test_goals_are_told_once(self, storage: Storage, clock: ManualClock) -> None:
        """Each journey that reaches it, also one that begins with the goal reached."""
        for journey, early in (("j1", False), ("j2", True)):
            await storage.emit("ada", (NewFiring(journey, "welcome", "welcome.0", "ada"),), {})
            if early:
                await storage.emit("ada", (), {"welcome": DAY}, hooks=HOOKS)
            _, (firing,) = await storage.claim_firings(1, timedelta(minutes=1))
            begin = Journey(journey, "welcome", "ada", within=DAY, hooks=HOOKS)
            entry = Entry("ada", Outcome.ACTED, journey=begin)
            await storage.record(firing, (entry,), closing=Closing(Phase.ACTION, Outcome.ACTED))
        for _ in range(3):
            await storage.emit("ada", (), {"welcome": DAY}, hooks=HOOKS)
        found = await heard(storage, EventKind.GOAL_REACHED)
        assert [one["journey"] for one in found if isinstance(one, dict)] == ["j1", "j2"]
