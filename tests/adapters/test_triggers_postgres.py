"""Triggers on PostgreSQL: whoever writes, however, and whatever happens to skene's own tables."""

import time
from collections.abc import AsyncIterator

import asyncpg
import pytest

from skene.adapters.postgres import PostgresStorage
from skene.adapters.postgres.triggers import PostgresTriggers
from skene.engine.rowtrigger import RowTrigger
from skene.engine.subject import storable_id
from skene.errors import ConfigurationError, StorageUnavailable
from tests.adapters.trigger_kit import PostgresShop, on_delete, on_insert, on_update
from tests.support.postgres import PostgresAddress

ALL = [on_insert(), on_update(), on_delete()]
BULK = (
    "INSERT INTO users (id, email, plan) SELECT n, n || '@acme.test', 'free' FROM generate_series({}, {}) n"
)


@pytest.fixture
async def shop(postgres_server: PostgresAddress, migrated_database: str) -> AsyncIterator[PostgresShop]:
    name = f"{migrated_database}_shop"
    made = PostgresShop(postgres_server, postgres_server.create_database(name, migrated_database))
    yield made
    await made.storage.aclose()
    postgres_server.drop_database(name)


@pytest.fixture
async def connection(shop: PostgresShop) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    connection = await asyncpg.connect(shop.dsn)
    yield connection
    await connection.close()


def seconds(shop: PostgresShop, statement: str) -> float:
    started = time.perf_counter()
    shop.run(statement)
    return time.perf_counter() - started


async def test_a_bulk_load_is_one_more_statement(shop: PostgresShop) -> None:
    without = seconds(shop, BULK.format(1, 10_000))
    await shop.storage.triggers.install([on_insert()])
    took = seconds(shop, BULK.format(10_001, 20_000))
    assert len(set(shop.subjects())) == 10_000
    assert took < without + 2  # about 0.4 s; a row at a time would take several seconds


async def test_copy_sets_off_each_row(
    shop: PostgresShop, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await shop.storage.triggers.install([on_insert()])
    records = [(number, "free") for number in range(1, 1001)]
    await connection.copy_records_to_table("users", records=records, columns=["id", "plan"])
    assert len(shop.subjects()) == 1000


async def test_truncate_does_nothing(shop: PostgresShop) -> None:
    await shop.storage.triggers.install(ALL)
    shop.run(BULK.format(1, 3))
    shop.run("TRUNCATE users")
    assert [step for step, _, _ in shop.fired()] == ["activation"] * 3


async def test_rows_deleted_with_another_are_rows_deleted(shop: PostgresShop) -> None:
    shop.run("CREATE TABLE seats (id TEXT PRIMARY KEY, owner BIGINT REFERENCES users ON DELETE CASCADE)")
    await shop.storage.triggers.install([RowTrigger("seat", "loop", "seats", "delete")])
    shop.run(BULK.format(1, 2) + "; INSERT INTO seats VALUES ('a', 1), ('b', 1), ('c', 2)")
    shop.run("DELETE FROM users WHERE id = 1")
    assert sorted(shop.subjects()) == ["a", "b"]


async def test_a_role_without_rights_on_our_tables_may_write(
    shop: PostgresShop, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await shop.storage.triggers.install(ALL)
    role = f"writer_{shop.name}"
    shop.run(
        f"CREATE ROLE {role}; GRANT INSERT, UPDATE, DELETE, SELECT ON users TO {role};"
        f"GRANT ALL ON SCHEMA public TO {role}"
    )
    try:
        # Tables and functions of the writer's, in the way of ours.
        await connection.execute(f"""
            SET ROLE {role};
            CREATE TEMP TABLE skene_firings (LIKE users);
            CREATE FUNCTION clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT NULL::timestamptz';
            SET search_path = pg_temp, public, pg_catalog;
        """)
        await connection.execute("INSERT INTO public.users (id, plan) VALUES (1, 'free')")
        await connection.execute("UPDATE public.users SET plan = 'paid'")
        await connection.execute("DELETE FROM public.users")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("SELECT * FROM public.skene_firings")
        (name, *_) = await shop.storage.triggers.installed()
        with pytest.raises(
            asyncpg.InsufficientPrivilegeError
        ):  # nor may they use it for a table of their own
            await connection.execute(f"""
                CREATE TABLE mine (id int);
                CREATE TRIGGER mine AFTER INSERT ON mine EXECUTE FUNCTION public.{name}();
            """)
        assert len(shop.fired()) == 3
    finally:
        await connection.execute("RESET ROLE")
        shop.run(f"DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.mark.parametrize(
    "broken",
    [
        "DROP TABLE skene_firings",
        "ALTER TABLE skene_firings ADD CHECK (subject <> '1')",
        "ALTER TABLE users DROP COLUMN id",
    ],
)
async def test_the_users_own_write_never_fails(
    shop: PostgresShop, connection: "asyncpg.Connection[asyncpg.Record]", broken: str
) -> None:
    await shop.storage.triggers.install(ALL)
    shop.run(broken)
    warnings: list[str] = []
    connection.add_log_listener(lambda _, message: warnings.append(message.message))
    column = "seats" if "COLUMN id" in broken else "id"
    async with connection.transaction():
        await connection.execute(f"INSERT INTO users ({column}, plan) VALUES (1, 'free')")
        await connection.execute("UPDATE users SET plan = 'paid'")
    assert await connection.fetchval("SELECT plan FROM users") == "paid"
    assert [warning.startswith("skene: skene_") for warning in warnings] == [True, True]


async def test_rows_that_are_written_within_a_transaction_stand_and_fall_with_it(
    shop: PostgresShop, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await shop.storage.triggers.install([on_insert()])
    async with connection.transaction():
        await connection.execute("INSERT INTO users (id) VALUES (1)")
        await connection.execute("SAVEPOINT a; INSERT INTO users (id) VALUES (2); ROLLBACK TO a")
        assert shop.subjects() == []  # nobody sees it yet
    assert shop.subjects() == ["1"]


async def test_a_table_with_partitions_and_one_that_is_a_partition(shop: PostgresShop) -> None:
    shop.run("""
        CREATE TABLE visits (id TEXT, at DATE) PARTITION BY RANGE (at);
        CREATE TABLE visits_26 PARTITION OF visits FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
        CREATE TABLE visits_27 PARTITION OF visits FOR VALUES FROM ('2027-01-01') TO ('2028-01-01');
    """)
    wanted = [on_insert("all", "visits"), on_insert("one", "visits_27")]
    await shop.storage.triggers.install(wanted)
    shop.run("INSERT INTO visits VALUES ('ada', '2026-03-01'), ('bob', '2027-03-01')")
    shop.run("INSERT INTO visits_26 VALUES ('eve', '2026-03-02')")
    shop.run("CREATE TABLE visits_28 PARTITION OF visits FOR VALUES FROM ('2028-01-01') TO ('2029-01-01')")
    shop.run("INSERT INTO visits_28 VALUES ('kim', '2028-03-02')")
    fired = [(step, subject) for step, subject, _ in shop.fired()]
    assert [subject for step, subject in fired if step == "all"] == ["ada", "bob", "eve", "kim"]
    assert [subject for step, subject in fired if step == "one"] == ["bob"]
    assert await shop.storage.triggers.missing(wanted) == ()
    await shop.storage.triggers.remove()
    assert shop.traces() == 0


async def test_tables_in_other_schemas(shop: PostgresShop) -> None:
    shop.run('CREATE SCHEMA "Sales.EU"; CREATE TABLE "Sales.EU"."Group" (id INT, "To" TEXT)')
    wanted = [RowTrigger("moved", "loop", '"Sales.EU".Group', "update", ("To",), (("To", "x"),))]
    await shop.storage.triggers.install(wanted)
    shop.run("""INSERT INTO "Sales.EU"."Group" VALUES (1); UPDATE "Sales.EU"."Group" SET "To" = 'x'""")
    assert shop.fired() == [("moved", "1", {"id": 1, "To": "x"})]


async def test_the_tables_of_skene_in_a_schema_of_their_own(
    postgres_server: PostgresAddress, postgres_dsn: str
) -> None:
    shop = PostgresShop(postgres_server, postgres_dsn)
    storage = PostgresStorage(postgres_dsn, schema="Skene own")
    await storage.migrate()
    await storage.triggers.install([on_insert()])
    shop.run("INSERT INTO users (id) VALUES (1)")
    assert shop.rows('SELECT subject FROM "Skene own".skene_firings') == [("1",)]
    shop.run(await storage.triggers.sql([on_insert()]))
    assert await storage.triggers.missing([on_insert()]) == ()
    await storage.aclose()


async def test_types_that_know_no_equality(shop: PostgresShop) -> None:
    shop.run("""
        CREATE TYPE tier AS ENUM ('free', 'paid');
        ALTER TABLE users ADD COLUMN extra JSON, ADD COLUMN spot POINT;
        ALTER TABLE users ADD COLUMN tier tier, ADD COLUMN tags TEXT[];
    """)
    wanted = [
        on_update("extra", columns=("extra", "spot")),
        on_update("tier", where=(("tier", "paid"),)),
        on_update("any"),
    ]
    await shop.storage.triggers.install(wanted)
    shop.run("""
        INSERT INTO users (id, extra, tier) VALUES (1, '{"a": 1}', 'free');
        UPDATE users SET extra = '{"a": 1}';
        UPDATE users SET extra = '{"a": 2}';
        UPDATE users SET tier = 'paid', tags = '{a}';
    """)
    assert [(step, data["extra"], data["tier"]) for step, _, data in shop.fired()] == [
        ("any", {"a": 2}, "free"),
        ("extra", {"a": 2}, "free"),
        ("any", {"a": 2}, "paid"),
        ("tier", {"a": 2}, "paid"),
    ]


@pytest.mark.parametrize("where", [("seats", "many"), ("active", "perhaps"), ("extra", "x")])
async def test_a_value_that_its_column_cannot_have(shop: PostgresShop, where: tuple[str, str]) -> None:
    shop.run("ALTER TABLE users ADD COLUMN extra JSON")
    with pytest.raises(ConfigurationError) as error:
        await shop.storage.triggers.install([on_insert(where=(where,)), on_update("b", where=(where,))])
    assert [fault.path for fault in error.value.faults] == [
        f"activation.trigger.where.{where[0]}",
        f"b.trigger.where.{where[0]}",
    ]
    assert f" {where[1]} " not in str(error.value)


async def test_columns_that_are_added_later_are_copied_unless_they_look_secret(shop: PostgresShop) -> None:
    await shop.storage.triggers.install([on_insert()])
    shop.run("ALTER TABLE users ADD COLUMN city TEXT, ADD COLUMN second_password TEXT")
    shop.run("INSERT INTO users (id, city, second_password) VALUES (1, 'Oslo', 's3cret')")
    ((_, _, data),) = shop.fired()
    assert data["city"] == "Oslo"
    assert "s3cret" not in str(shop.rows("SELECT * FROM skene_firings"))


async def test_a_long_id_is_stored_as_every_other_part_stores_it(shop: PostgresShop) -> None:
    await shop.storage.triggers.install([on_insert(subject="email")])
    for number, subject in enumerate(("x" * 200, "x" * 201, "ä" * 101)):
        shop.run(f"INSERT INTO users (id, email) VALUES ({number}, '{subject}')")
        assert shop.subjects()[-1] == storable_id(subject)


async def test_one_that_was_switched_off_is_missing(shop: PostgresShop) -> None:
    await shop.storage.triggers.install(ALL)
    (name, *_) = [name for name in await shop.storage.triggers.installed() if "insert" in name]
    shop.run(f"ALTER TABLE users DISABLE TRIGGER {name}")
    assert await shop.storage.triggers.missing(ALL) == (on_insert(),)
    assert (await shop.storage.triggers.install(ALL)).replaced == (name,)
    shop.run("INSERT INTO users (id) VALUES (1)")
    assert shop.subjects() == ["1"]


async def test_a_table_that_was_made_anew_has_none(shop: PostgresShop) -> None:
    await shop.storage.triggers.install([on_insert()])
    shop.run("DROP TABLE users; CREATE TABLE users (id INT)")
    assert await shop.storage.triggers.missing([on_insert()]) == (on_insert(),)
    await shop.storage.triggers.install([on_insert()])
    shop.run("INSERT INTO users VALUES (7)")
    assert shop.subjects() == ["7"]


async def test_who_may_not_is_told_what_is_needed(shop: PostgresShop) -> None:
    role = f"nobody_{shop.name}"
    shop.run(f"CREATE ROLE {role} LOGIN; GRANT SELECT ON users TO {role}")
    triggers = PostgresTriggers(shop.dsn.replace("postgres@", f"{role}@"))
    try:
        with pytest.raises(ConfigurationError, match="skene db triggers --sql"):
            await triggers.install([on_insert()])
        assert shop.traces() == 0
    finally:
        await triggers.aclose()
        shop.run(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_a_table_in_use_is_not_waited_for_long(
    shop: PostgresShop, connection: "asyncpg.Connection[asyncpg.Record]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skene.adapters.postgres.triggers.TABLE_LOCK", "100ms")
    async with connection.transaction():
        await connection.execute("INSERT INTO users (id) VALUES (1)")
        with pytest.raises(StorageUnavailable):
            await shop.storage.triggers.install([on_insert()])
    assert (await shop.storage.triggers.install([on_insert()])).created


async def test_there_is_no_notification(shop: PostgresShop) -> None:
    assert "NOTIFY" not in (await shop.storage.triggers.sql(ALL)).upper()
