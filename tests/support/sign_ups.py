"""People who sign up, in transactions that last or do not, and what they do then: all from one seed."""

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import asyncpg

__all__ = ["TABLES", "SignUps", "address_of", "faults_of"]

TABLES = """
CREATE TABLE users (
    id BIGINT PRIMARY KEY, email TEXT NOT NULL UNIQUE, name TEXT NOT NULL, activation_link TEXT NOT NULL,
    mailed BOOLEAN NOT NULL DEFAULT false
);
CREATE TABLE user_actions (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, user_id BIGINT NOT NULL, action_type TEXT NOT NULL
);
CREATE INDEX ON user_actions (user_id);
"""
PROJECT, OTHER = "first_project_created", "profile_opened"
LARGEST = 60
"""Rows in one transaction, at most."""

if TYPE_CHECKING:
    Driver = asyncpg.Connection[asyncpg.Record]


@dataclass
class SignUps:
    """What becomes of `total` rows: a third is rolled back, the others act in time, late, or never.

    Attributes:
        in_time, late, never: the ids of those who are there, by what they do.
        undone: the ids of those who are not.
    """

    total: int
    seed: int
    in_time: list[int] = field(default_factory=list[int])
    late: list[int] = field(default_factory=list[int])
    never: list[int] = field(default_factory=list[int])
    undone: list[int] = field(default_factory=list[int])

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)  # noqa: S311 - a test's choices, to be made again alike

    @property
    def committed(self) -> int:
        return len(self.in_time) + len(self.late) + len(self.never)

    async def run(self, driver: "Driver") -> None:
        """Insert all rows, and what those do who act in time."""
        for ids, lasts in self._transactions():
            if lasts:
                await self._commit(driver, ids)
            else:
                await self._undo(driver, ids)
                self.undone += ids

    async def act_late(self, driver: "Driver") -> None:
        """Let those act whose time is up."""
        await _act(driver, self.late, PROJECT)

    def _transactions(self) -> Iterator[tuple[list[int], bool]]:
        left, to_undo, first = self.total, self.total // 3, 1
        while left:
            size = min(left, self._chance.randint(1, LARGEST))
            lasts = self._chance.random() >= to_undo / left
            size = min(size, left - to_undo if lasts else to_undo)
            yield list(range(first, first + size)), lasts
            first, left, to_undo = first + size, left - size, to_undo - (0 if lasts else size)

    async def _commit(self, driver: "Driver", ids: list[int]) -> None:
        at_once: list[int] = []
        soon: list[int] = []
        for one in ids:
            fate = self._chance.random()
            if fate < 0.3:
                self.in_time.append(one)
                (at_once if fate < 0.1 else soon).append(one)
            else:
                (self.late if fate < 0.5 else self.never).append(one)
        async with driver.transaction():
            await _insert(driver, ids)
            await _act(driver, at_once, PROJECT)
        await _act(driver, soon, PROJECT)
        await _act(driver, [one for one in ids if one % 5 == 0], OTHER)

    async def _undo(self, driver: "Driver", ids: list[int]) -> None:
        """The ways in which rows come to nothing: by wish, by a fault, or to a savepoint."""
        way = self._chance.choice(("wish", "fault", "savepoint"))
        transaction = driver.transaction()
        await transaction.start()
        inner = driver.transaction()
        if way == "savepoint":
            await inner.start()
        await _insert(driver, ids)
        await _act(driver, ids, PROJECT)
        if way == "fault":
            with suppress(asyncpg.UniqueViolationError):
                await _insert(driver, ids[:1])
        if way == "savepoint":
            await inner.rollback()
            await transaction.commit()
        else:
            await transaction.rollback()


def address_of(user: int) -> str:
    return f"user{user}@app.test"


def faults_of(wanted: list[int], mails: Mapping[str, int]) -> list[str]:
    """What is wrong with the mails that addresses got: each of some users wants one, nobody else any."""
    want = {address_of(user) for user in wanted}
    twice = {address: count for address, count in mails.items() if count > 1}
    missing, wrong = want - mails.keys(), mails.keys() - want
    counts = Counter({"missing": len(missing), "more than once": len(twice), "to nobody's wish": len(wrong)})
    shown = {"missing": missing, "more than once": twice, "to nobody's wish": wrong}
    return [f"{count} mails {what}: {sorted(shown[what])[:5]}" for what, count in counts.items() if count]


async def _insert(driver: "Driver", ids: list[int]) -> None:
    await driver.execute(
        "INSERT INTO users (id, email, name, activation_link)"
        " SELECT n, 'user' || n || '@app.test', 'User ' || n, 'https://app.test/start/' || n"
        " FROM unnest($1::bigint[]) AS n",
        ids,
    )


async def _act(driver: "Driver", ids: list[int], what: str) -> None:
    if ids:
        await driver.execute(
            "INSERT INTO user_actions (user_id, action_type) SELECT n, $2 FROM unnest($1::bigint[]) AS n",
            ids,
            what,
        )
