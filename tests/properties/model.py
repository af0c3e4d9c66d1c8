"""The quota in its plainest form: who used what in which window, added up whenever somebody asks."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from tests.properties.windows import ALWAYS, HOUR, NEVER, Use, Window, base, joined, kind_of, part_at, running

__all__ = ["LIMITS", "WARN_AT", "Asked", "Bought", "Conflict", "Expected", "Model", "Person"]

LOOK_EVERY = timedelta(minutes=1)
WARN_AT = (0.5, 1.0)

LIMITS: dict[str, dict[str, int | None]] = {
    "fixed": {"free": 3, "starter": 5, "pro": None},
    "rolling": {"free": 3, "starter": 4, "pro": None},
    "month": {"free": 2, "starter": 4, "pro": None},
    "cycle": {"free": 1, "starter": 3, "pro": 5},
    "life": {"free": 4, "starter": 6, "pro": None},
    "extra": {"free": 0, "starter": 2, "pro": None},
    "pages": {"free": 2, "starter": 3, "pro": None},
}


class Conflict(Exception):
    """The key stands for another call."""


@dataclass
class Pot:
    """Granted units."""

    number: int
    units: int
    expires: datetime
    spent: int = 0
    spent_at: datetime = ALWAYS

    def left(self, now: datetime) -> int:
        return self.units - self.spent if now < self.expires else 0


@dataclass
class Bought:
    """What a customer's subscriptions give: a plan, until when, and the edges of its billing periods."""

    plan: str = "free"
    until: datetime = NEVER
    edges: tuple[datetime, ...] = ()


@dataclass
class Key:
    """What an idempotency key stands for, since when, and whether it came again."""

    stands_for: str
    at: datetime
    repeated: bool = False


@dataclass
class Wall:
    """A refusal that stands: until when, and the id that skene has given it, once that is known."""

    until: datetime
    id: str | None = None
    either: bool = False
    """It is one of two that stand equally long; which, nobody promises."""


@dataclass
class Person:
    """All that is known of somebody."""

    bought: Bought = field(default_factory=Bought)
    customer: str | None = None
    looked: datetime | None = None
    windows: dict[tuple[str, str], Window] = field(default_factory=dict[tuple[str, str], Window])
    pots: dict[str, list[Pot]] = field(default_factory=dict[str, list[Pot]])
    granted: set[str] = field(default_factory=set[str])
    own: dict[str, tuple[int | None, datetime]] = field(
        default_factory=dict[str, tuple[int | None, datetime]]
    )
    keys: dict[str, Key] = field(default_factory=dict[str, Key])
    walls: dict[tuple[str, str], Wall] = field(default_factory=dict[tuple[str, str], Wall])
    prompts: set[tuple[Any, ...]] = field(default_factory=set[tuple[Any, ...]])
    warnings: set[tuple[Any, ...]] = field(default_factory=set[tuple[Any, ...]])

    def plan(self, now: datetime) -> str:
        return self.bought.plan if now < self.bought.until else "free"


@dataclass(frozen=True)
class Expected:
    """A decision, as it must be."""

    allowed: bool
    reason: str
    meter: str
    plan: str
    limit: int | None
    used: int
    window_start: datetime
    resets_at: datetime | None

    @property
    def left(self) -> float:
        return float("inf") if self.limit is None else max(0, self.limit - self.used)


Asked = tuple[tuple[str, int], ...]
"""Meters, each with the units that are wanted of it."""


class Model:
    """The whole quota.

    Args:
        shop: tells what a customer's subscriptions give now.
    """

    def __init__(self, shop: Callable[[str], Bought]) -> None:
        self.shop = shop
        self.people: dict[str, Person] = {}
        self.became: dict[str, str] = {}
        self.owners: dict[str, str | None] = {}
        self.blocked: set[str] = set()
        self.numbers = count(1)

    def living(self, name: str) -> str:
        return self.became.get(name, name)

    def person(self, name: str) -> Person:
        return self.people.setdefault(self.living(name), Person())

    # -- calls ---------------------------------------------------------------------------------------------

    def consume(
        self, name: str, asked: Asked, now: datetime, key: str | None = None, stands_for: str = ""
    ) -> tuple[Expected, list[Use]]:
        """Charge a call, or refuse it, having looked whether the person has paid meanwhile.

        Raises:
            Conflict: the key stands for another call.
        """
        person = self.person(name)
        if key is not None and key in person.keys:
            if person.keys[key].stands_for != stands_for:
                raise Conflict
            person.keys[key].repeated = True
            return self.decide(name, asked, now, replayed=True), []
        if not self.fits(person, asked, now) and self.may_look(person, now):
            assert person.customer is not None
            person.looked = now
            self.learn(person.customer, None, now)
        if not self.fits(person, asked, now):
            refused = self.decide(name, asked, now)
            self.refuse(name, refused, now)
            return refused, []
        uses = [self.charge(person, meter, units, now) for meter, units in asked]
        if key is not None:
            person.keys[key] = Key(stands_for, now)
        decided = self.decide(name, asked, now, charged=True)
        self.warn(name, asked, now)
        return decided, uses

    def fits(self, person: Person, asked: Asked, now: datetime) -> bool:
        return all(self.fits_one(person, meter, units, now) for meter, units in asked)

    def fits_one(self, person: Person, meter: str, units: int, now: datetime) -> bool:
        limit = self.limit(person, meter, now)
        return limit is None or units <= self.room(person, meter, limit, now) + self.held(person, meter, now)

    def may_look(self, person: Person, now: datetime) -> bool:
        """Whether the shop is asked before somebody is refused: a customer, once a minute."""
        if person.customer is None:
            return False
        return person.looked is None or now - person.looked >= LOOK_EVERY

    def charge(self, person: Person, meter: str, units: int, now: datetime) -> Use:
        window = self.window(person, meter, now)
        limit = self.limit(person, meter, now)
        extra = 0 if limit is None else max(0, units - self.room(person, meter, limit, now))
        owed = extra
        for pot in sorted(person.pots.get(meter, ()), key=lambda pot: (pot.expires, pot.number)):
            taken = min(owed, pot.left(now))
            if taken:
                pot.spent, pot.spent_at, owed = pot.spent + taken, now, owed - taken
        at = window.start
        if kind_of(meter) == "rolling":
            at = max([part_at(now), *(use.at for use in window.uses if use.units)]) if window.used else at
        use = Use(units, at, window)
        window.uses.append(use)
        for one in window.uses:
            one.window = window
        window.extra += extra
        person.windows[meter, person.plan(now)] = window
        return use

    def give_back(
        self,
        name: str,
        uses: list[Use],
        now: datetime,
        *,
        units: int | None = None,
        key: str | None = None,
    ) -> None:
        """Give uses back, to the windows they were charged in and to nothing else.

        Args:
            name, now: who, and when.
            uses: what a call has taken.
            units: only so many of each; None: all of them.
            key: the call's; given back, it may charge again.
        """
        person = self.person(name)
        if key is not None and key in person.keys:
            if person.keys[key].repeated:
                return  # a repetition went on for free
            del person.keys[key]
        for use in uses:
            self.return_units(person, use, use.units if units is None else units, now)

    def return_units(self, person: Person, use: Use, units: int, now: datetime) -> None:
        where = [at for at, one in person.windows.items() if one is use.window]
        if not where or use not in use.window.uses:
            return
        window = use.window
        use.units -= units
        extra = max(0, window.extra - units)
        back = window.extra - extra if now - use.at < window.end - window.start else 0
        window.extra = extra
        spent = [pot for pot in person.pots.get(where[0][0], ()) if pot.spent]
        for pot in sorted(spent, key=lambda pot: (pot.spent_at, pot.expires, pot.number), reverse=True):
            taken = min(back, pot.spent)
            pot.spent, back = pot.spent - taken, back - taken

    # -- how somebody stands -------------------------------------------------------------------------------

    def limit(self, person: Person, meter: str, now: datetime) -> int | None:
        limit, until = person.own.get(meter, (None, ALWAYS))
        return limit if now < until else LIMITS[base(meter)][person.plan(now)]

    def room(self, person: Person, meter: str, limit: int, now: datetime) -> int:
        window = self.window(person, meter, now)
        return max(0, limit - (window.used - window.extra))

    def held(self, person: Person, meter: str, now: datetime) -> int:
        return sum(pot.left(now) for pot in person.pots.get(meter, ()))

    def window(self, person: Person, meter: str, now: datetime) -> Window:
        """The window that runs at `now`, or the one that a use would open."""
        last = person.windows.get((meter, person.plan(now)))
        return running(last, kind_of(meter), now, person.bought.edges)

    def decide(
        self, name: str, asked: Asked, now: datetime, *, charged: bool = False, replayed: bool = False
    ) -> Expected:
        """The decision to report: a refusal first, then the one with the least left."""
        person = self.person(name)
        all_of = [self.stand(person, meter, units, now, charged, replayed) for meter, units in asked]
        return min(all_of, key=lambda one: (one.allowed, one.left))

    def stand(
        self, person: Person, meter: str, units: int, now: datetime, charged: bool, replayed: bool
    ) -> Expected:
        window, limit, held = (
            self.window(person, meter, now),
            self.limit(person, meter, now),
            self.held(person, meter, now),
        )
        allowed = charged or replayed or self.fits_one(person, meter, units, now)
        told = limit
        if limit is not None:
            told = (max(limit, window.used - window.extra) if held else limit) + window.extra + held
        reason = "unlimited" if told is None else "within_limit"
        if not allowed:
            reason = "feature_not_in_plan" if told == 0 else "usage_limit_reached"
        elif replayed:
            reason = "replayed"
        end = None if window.end == NEVER else window.end
        return Expected(allowed, reason, meter, person.plan(now), told, window.used, window.start, end)

    # -- what is said --------------------------------------------------------------------------------------

    def refuse(self, name: str, refused: Expected, now: datetime) -> None:
        """The first refusal of a window asks to upgrade; no other does."""
        person, step = self.person(name), base(refused.meter)
        wall = person.walls.get((step, refused.plan))
        if wall is not None and now < wall.until:
            return
        start, end = refused.window_start, refused.resets_at or NEVER
        if kind_of(refused.meter) == "rolling":
            start, end = now, now + HOUR
        person.walls[step, refused.plan] = Wall(end)
        person.prompts.add((self.living(name), step, refused.plan, start))

    def warn(self, name: str, asked: Asked, now: datetime) -> None:
        """Each part of the limit that is reached is told once a window."""
        person = self.person(name)
        for meter, _ in asked:
            window = self.window(person, meter, now)
            told = self.stand(person, meter, 0, now, charged=True, replayed=False).limit
            due = [at for at in WARN_AT if told and window.used / told >= at and at not in window.warned]
            if due:
                window.warned.update(due)
                about = (self.living(name), meter, person.plan(now), window.start, due[-1])
                person.warnings.add(about)

    def grant(self, name: str, meter: str, units: int, key: str, until: datetime) -> bool:
        """Units on top, once for each key."""
        person = self.person(name)
        if key in person.granted:
            return False
        person.granted.add(key)
        person.pots.setdefault(meter, []).append(Pot(next(self.numbers), units, until))
        return True

    # -- plans ---------------------------------------------------------------------------------------------

    def hold(self, name: str, bought: Bought, now: datetime) -> None:
        person = self.person(name)
        person.bought = bought if now < bought.until else Bought(edges=bought.edges)

    def learn(self, customer: str, named: str | None, now: datetime) -> None:
        """What the shop says of a customer now is what its owner holds."""
        if customer in self.blocked:
            return
        if self.owners.get(customer) is None and named is not None:
            person = self.person(named)
            if person.customer is None or person.plan(now) == "free":
                if person.customer is not None:
                    self.owners[person.customer] = None
                person.customer, self.owners[customer] = customer, self.living(named)
        owner = self.owners.get(customer)
        if owner is not None:
            self.hold(owner, self.shop(customer), now)

    # -- people --------------------------------------------------------------------------------------------

    def merge(self, source: str, target: str, now: datetime) -> None:
        """What is the source's becomes the target's; nothing is forgiven."""
        if source in self.became:
            return
        theirs, ours, new = self.person(source), self.person(target), self.living(target)
        self.join_accounts(ours, theirs, new, now)
        for where, window in theirs.windows.items():
            last = ours.windows.get(where)
            ours.windows[where] = window if last is None else joined(last, window, kind_of(where[0]), now)
        for meter, pots in theirs.pots.items():
            ours.pots[meter] = [*ours.pots.get(meter, ()), *pots]
        ours.granted |= theirs.granted
        for meter, (limit, until) in theirs.own.items():
            if now < until and not now < ours.own.get(meter, (None, ALWAYS))[1]:
                ours.own[meter] = limit, until
        ours.keys = {**theirs.keys, **ours.keys}
        for name, wall in theirs.walls.items():
            other = ours.walls.get(name)
            if other is not None and other.until == wall.until:
                ours.walls[name] = Wall(wall.until, either=True)
            elif other is None or other.until < wall.until:
                ours.walls[name] = wall
        ours.prompts |= theirs.prompts
        ours.warnings |= theirs.warnings
        del self.people[source]
        for name in (source, *[one for one, into in self.became.items() if into == source]):
            self.became[name] = new

    def join_accounts(self, ours: Person, theirs: Person, name: str, now: datetime) -> None:
        """Whoever pays is heard."""
        pays = theirs.plan(now) != "free" and ours.plan(now) == "free"
        if theirs.customer is not None:
            if ours.customer is not None and not pays:
                self.owners[theirs.customer] = None
                return
            if ours.customer is not None:
                self.owners[ours.customer] = None
            pays = theirs.plan(now) != "free"
            self.owners[theirs.customer], ours.customer = name, theirs.customer
            ours.looked = theirs.looked
            ours.bought = Bought(ours.bought.plan, ours.bought.until, theirs.bought.edges)
        if pays:
            ours.bought = Bought(theirs.bought.plan, theirs.bought.until, ours.bought.edges)

    def forget(self, name: str) -> None:
        """Nothing is left, and a late webhook brings nobody back."""
        gone = self.people.pop(name, Person())
        if gone.customer is not None:
            self.blocked.add(gone.customer)
            self.owners.pop(gone.customer)
        self.became = {one: into for one, into in self.became.items() if into != name}
