"""What every adapter of the port `Queries` must do, as tests: subclass them in your own suite.

class TestMine(QueryConformance):
    @pytest.fixture
    def database(self) -> Execute:
        return …  # runs one statement that writes, and commits it

    @pytest.fixture
    async def queries(self, database: Execute) -> AsyncIterator[Queries]:
        queries = MyQueries(…)
        yield queries
        await queries.aclose()
"""

import json
from collections.abc import Callable
from datetime import timedelta

import anyio
import pytest

from skene.definitions.sql import Select, read_select
from skene.errors import QueryError, QueryRefused, QueryTimeout
from skene.ports.queries import Queries, Row

__all__ = ["Execute", "QueryConformance"]

Execute = Callable[[str], object]
"""Runs one statement of SQL on the database behind the queries, in a transaction of its own."""

LONG = timedelta(seconds=30)
SHORT = timedelta(milliseconds=300)
GRACE = timedelta(seconds=1)
"""How much later than its time-out a query may end."""

EVERYBODY = read_select("SELECT * FROM people ORDER BY id")
ONE = read_select("SELECT name FROM people WHERE id = $1")
ENDLESS = read_select(
    "WITH RECURSIVE t (n) AS (SELECT 0 UNION ALL SELECT n FROM t) SELECT count(*) AS counted FROM t"
)
ENDLESS_ROWS = read_select("WITH RECURSIVE t (n) AS (SELECT 0 UNION ALL SELECT n FROM t) SELECT n FROM t")
COUNT = 25


def unread(text: str) -> Select:
    """A statement that nobody has looked at, as if the first lock had failed."""
    return Select(text, (text,), ())


class QueryConformance:
    """The suite. It makes a table `people` of its own."""

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def database(self) -> Execute:
        """Runs statements on an empty database. The adapter's test class gives it."""
        raise pytest.UsageError(f"{type(self).__name__} must define the fixture `database`")

    @pytest.fixture
    def queries(self) -> Queries:
        """The adapter, over the database. The adapter's test class gives it."""
        raise pytest.UsageError(f"{type(self).__name__} must define the fixture `queries`")

    @pytest.fixture(autouse=True)
    def people(self, database: Execute) -> None:
        """A table of 25 rows."""
        database(
            "CREATE TABLE people (id BIGINT PRIMARY KEY, name TEXT, score DOUBLE PRECISION, photo INTEGER)"
        )
        rows = ", ".join(f"({number}, 'p{number}', {number}.5, NULL)" for number in range(1, COUNT + 1))
        database(f"INSERT INTO people VALUES {rows}")  # noqa: S608 - numbers of ours

    async def test_check_tells_the_columns(self, queries: Queries) -> None:
        """Of a star, too, and with values unknown."""
        assert await queries.check(EVERYBODY) == ("id", "name", "score", "photo")
        assert await queries.check(read_select("SELECT id AS a, :plan AS b FROM people WHERE id = $1")) == (
            "a",
            "b",
        )

    async def test_check_runs_nothing(self, queries: Queries) -> None:
        """A check at the start takes no longer for a query that does."""
        assert await queries.check(ENDLESS) == ("counted",)

    async def test_rows_are_plain_json(self, queries: Queries) -> None:
        """What a template or an outbox row is made of."""
        rows = await queries.fetch(EVERYBODY, {}, timeout=LONG, limit=1)
        assert rows == [{"id": 1, "name": "p1", "score": 1.5, "photo": None}]
        assert json.loads(json.dumps(rows)) == rows

    async def test_the_limit_is_the_most(self, queries: Queries) -> None:
        """A cap, not a page."""
        assert await _ids(queries, EVERYBODY, 3) == [1, 2, 3]
        assert len(await _ids(queries, EVERYBODY, 1000)) == COUNT
        nobody = read_select("SELECT id FROM people WHERE id < 0")
        assert await queries.fetch(nobody, {}, timeout=LONG, limit=5) == []

    @pytest.mark.parametrize(
        "text", ["WHERE id = $1", "WHERE id = :subject", "WHERE id = $1 OR id = :subject + 0"]
    )
    async def test_the_subject_is_bound_as_what_the_column_is(self, queries: Queries, text: str) -> None:
        """A subject's id is text, whatever the table makes of it."""
        select = read_select(f"SELECT name FROM people {text}")  # noqa: S608 - texts of ours
        assert await queries.fetch(select, {"subject": "7"}, timeout=LONG, limit=5) == [{"name": "p7"}]

    async def test_a_value_is_never_sql(self, queries: Queries) -> None:
        """Values are bound."""
        select = read_select("SELECT id FROM people WHERE name = :name")
        values: Row = {"name": "' OR 1 = 1 --", "other": 1}
        assert await queries.fetch(select, values, timeout=LONG, limit=5) == []
        assert await queries.fetch(select, {"name": "p3"}, timeout=LONG, limit=5) == [{"id": 3}]

    async def test_values_of_every_kind_can_be_bound(self, queries: Queries) -> None:
        """All that a row's JSON may hold."""
        select = read_select("SELECT id FROM people WHERE score > :score AND id < :most AND name <> :name")
        values: Row = {"score": 23.5, "most": 25, "name": 'it\'s "ä" \\ {}'}
        assert await queries.fetch(select, values, timeout=LONG, limit=5) == [{"id": 24}]
        null = read_select("SELECT count(*) AS n FROM people WHERE name = :name")
        assert await queries.fetch(null, {"name": None}, timeout=LONG, limit=5) == [{"n": 0}]

    async def test_a_missing_value_is_named_with_those_that_are_there(self, queries: Queries) -> None:
        """By name only: values may be secret."""
        select = read_select("SELECT id FROM people WHERE name = :nmae")
        with pytest.raises(QueryRefused, match=r":nmae.*email, name") as error:
            await queries.fetch(select, {"name": "secret", "email": "x"}, timeout=LONG, limit=5)
        assert "secret" not in str(error.value)

    @pytest.mark.parametrize(
        ("text", "said"),
        [("SELECT nmae FROM people", "nmae"), ("SELECT id FROM poeple", "poeple"), ("SELECT", "")],
    )
    async def test_what_does_not_compile_is_refused_in_words(
        self, queries: Queries, text: str, said: str
    ) -> None:
        """With the name that is wrong."""
        with pytest.raises(QueryRefused) as checked:
            await queries.check(
                read_select(f"{text}, 1 FROM people WHERE") if not said else read_select(text)
            )
        assert said in checked.value.reason
        if said:
            with pytest.raises(QueryRefused, match=said):
                await queries.fetch(read_select(text), {}, timeout=LONG, limit=1)

    async def test_a_comment_at_the_end_hides_nothing(self, queries: Queries) -> None:
        """Nothing of ours ends up behind it."""
        select = read_select("SELECT id FROM people WHERE id = $1; -- the end")
        assert await queries.check(select) == ("id",)
        assert await queries.fetch(select, {"subject": "1"}, timeout=LONG, limit=5) == [{"id": 1}]

    @pytest.mark.parametrize(
        "text",
        [
            "DELETE FROM people",
            "UPDATE people SET name = ''",
            "DROP TABLE people",
            "CREATE TABLE other AS SELECT 1 AS n",
            "SELECT 1; DELETE FROM people",
            "COMMIT; DELETE FROM people",
        ],
    )
    async def test_nothing_is_written_even_if_nobody_has_looked(self, queries: Queries, text: str) -> None:
        """Decision 23: the second lock holds by itself."""
        with pytest.raises(QueryError):
            await queries.check(unread(text))
        with pytest.raises(QueryError):
            await queries.fetch(unread(text), {}, timeout=LONG, limit=5)
        with pytest.raises(QueryError):
            await _read_all(queries, unread(text), LONG)
        assert len(await _ids(queries, EVERYBODY, 1000)) == COUNT

    async def test_a_stream_comes_in_batches(self, queries: Queries) -> None:
        """In the order of the query."""
        async with queries.stream(EVERYBODY, {}, timeout=LONG, batch=10) as batches:
            found = [rows async for rows in batches]
        assert [len(rows) for rows in found] == [10, 10, 5]
        assert [row["id"] for rows in found for row in rows] == list(range(1, COUNT + 1))

    @pytest.mark.parametrize(("last", "sizes"), [(0, []), (1, [1]), (5, [5]), (10, [5, 5])])
    async def test_no_batch_is_empty(self, queries: Queries, last: int, sizes: list[int]) -> None:
        """Whatever the number of rows."""
        select = read_select("SELECT id FROM people WHERE id <= :last")
        async with queries.stream(select, {"last": last}, timeout=LONG, batch=5) as batches:
            assert [len(rows) async for rows in batches] == sizes

    async def test_a_stream_shows_one_state(self, queries: Queries, database: Execute) -> None:
        """What is written meanwhile is not seen."""
        async with queries.stream(EVERYBODY, {}, timeout=LONG, batch=5) as batches:
            found = await anext(batches)
            database("UPDATE people SET name = 'changed'")
            database("INSERT INTO people VALUES (99, 'late', 0, NULL)")
            async for rows in batches:
                found += rows
        assert [row["name"] for row in found] == [f"p{number}" for number in range(1, COUNT + 1)]

    async def test_a_stream_that_is_left_early_blocks_nobody(
        self, queries: Queries, database: Execute
    ) -> None:
        """Nor does it keep a connection or a lock."""
        for _ in range(10):
            async with queries.stream(EVERYBODY, {}, timeout=LONG, batch=5) as batches:
                assert len(await anext(batches)) == 5
        database("DROP TABLE people")

    async def test_a_query_runs_beside_a_stream(self, queries: Queries) -> None:
        """Somebody who reads rows may ask about each."""
        async with queries.stream(EVERYBODY, {}, timeout=LONG, batch=20) as batches:
            async for _ in batches:
                assert len(await _ids(queries, EVERYBODY, 3)) == 3

    async def test_a_query_stops_at_its_time_out(self, queries: Queries) -> None:
        """Decision 23: one second late at most."""
        for _ in range(2):  # and so does the next on the same connection
            started = anyio.current_time()
            with pytest.raises(QueryTimeout):
                await queries.fetch(ENDLESS, {}, timeout=SHORT, limit=1)
            assert anyio.current_time() - started <= (SHORT + GRACE).total_seconds()
        assert len(await _ids(queries, EVERYBODY, 1000)) == COUNT

    async def test_the_time_out_is_for_the_whole_stream(self, queries: Queries) -> None:
        """Not for each batch."""
        started = anyio.current_time()
        with pytest.raises(QueryTimeout):
            await _read_all(queries, ENDLESS_ROWS, SHORT)
        assert anyio.current_time() - started <= (SHORT + GRACE).total_seconds()

    async def test_a_caller_that_is_cancelled_leaves_nothing_running(self, queries: Queries) -> None:
        """L8: cancellation leaks nothing."""
        for _ in range(10):  # more often than there are connections
            with anyio.move_on_after(0.05) as scope:
                await queries.fetch(ENDLESS, {}, timeout=LONG, limit=1)
            assert scope.cancelled_caught
        assert len(await _ids(queries, EVERYBODY, 1000)) == COUNT

    async def test_many_at_once(self, queries: Queries) -> None:
        """More than there are connections."""

        async def one(number: int) -> None:
            found = await queries.fetch(ONE, {"subject": str(number)}, timeout=LONG, limit=1)
            assert found == [{"name": f"p{number}"}]

        async with anyio.create_task_group() as tasks:
            for number in range(1, COUNT + 1):
                tasks.start_soon(one, number)

    async def test_a_table_may_change_between_two_queries(self, queries: Queries, database: Execute) -> None:
        """What was learnt about a table is not believed for ever."""
        select = read_select("SELECT * FROM people WHERE id = $1")
        for _ in range(2):
            assert len(await queries.fetch(select, {"subject": "1"}, timeout=LONG, limit=1)) == 1
        database("ALTER TABLE people ADD COLUMN email TEXT")
        found = await queries.fetch(select, {"subject": "1"}, timeout=LONG, limit=1)
        assert list(found[0]) == ["id", "name", "score", "photo", "email"]
        database("DROP TABLE people")
        database("CREATE TABLE people (id TEXT, name TEXT)")
        database("INSERT INTO people VALUES ('ada', 'Ada')")
        found = await queries.fetch(select, {"subject": "ada"}, timeout=LONG, limit=1)
        assert found == [{"id": "ada", "name": "Ada"}]

    async def test_it_can_be_closed_twice_and_used_again(self, queries: Queries) -> None:
        """As every adapter."""
        await _ids(queries, EVERYBODY, 1)
        await queries.aclose()
        await queries.aclose()
        assert await _ids(queries, EVERYBODY, 1) == [1]


async def _read_all(queries: Queries, select: Select, timeout: timedelta) -> None:
    async with queries.stream(select, {}, timeout=timeout, batch=100) as batches:
        async for rows in batches:
            assert 0 < len(rows) <= 100


async def _ids(queries: Queries, select: Select, limit: int) -> list[object]:
    return [row["id"] for row in await queries.fetch(select, {}, timeout=LONG, limit=limit)]
