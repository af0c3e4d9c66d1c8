"""Triggers on a user's tables, the same on PostgreSQL and SQLite."""

import itertools
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from skene.adapters.sql.triggers import is_secret
from skene.adapters.sqlite import SqliteStorage
from skene.engine.subject import storable_id
from skene.errors import ConfigurationError, SchemaOutdated, StorageUnavailable
from skene.ports.triggers import Changes
from skene.testing.conformance.happening import entry
from tests.adapters.trigger_kit import PostgresShop, Shop, SqliteShop, on_delete, on_insert, on_update
from tests.support.postgres import PostgresAddress

LONG = "a" * 300
ALL = [on_insert(), on_update(), on_delete()]
ADA = "INSERT INTO users (id, email, plan) VALUES (1, 'ada@acme.test', 'free')"
MANY = "INSERT INTO users (id, plan) VALUES (1, 'free'), (2, 'free'), (3, 'paid')"


@pytest.fixture(params=["postgres", "sqlite"])
async def shop(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Shop]:
    made: Shop
    if request.param == "postgres":
        server: PostgresAddress = request.getfixturevalue("postgres_server")
        template: str = request.getfixturevalue("migrated_database")
        name = f"{template}_shop"
        made = PostgresShop(server, server.create_database(name, template))
    else:
        made = SqliteShop(tmp_path / "app.db")
        await made.storage.migrate()
    yield made
    await made.storage.aclose()
    if isinstance(made, PostgresShop):
        made.server.drop_database(made.name)


async def test_a_committed_row_sets_off_one_firing_and_one_rolled_back_none(shop: Shop) -> None:
    await shop.storage.triggers.install([on_insert()])
    shop.run(ADA)
    shop.roll_back("INSERT INTO users (id) VALUES (2)")
    ((step, subject, data),) = shop.fired()
    assert (step, subject) == ("activation", "1")
    assert (data["id"], data["email"], data["plan"]) == (1, "ada@acme.test", "free")


async def test_a_long_id_is_the_one_that_everything_else_knows(shop: Shop) -> None:
    """Decisions 13 and 31: it is kept as a digest, and whoever has it can be forgotten."""
    await shop.storage.triggers.install([on_insert(subject="email")])
    shop.run(f"INSERT INTO users (id, email) VALUES (1, '{LONG}')")
    _, (firing,) = await shop.storage.claim_firings(10, timedelta(seconds=30))
    assert firing.subject == storable_id(LONG) != LONG
    assert (await shop.storage.record(firing, (entry(firing.subject),), closing=None)).held
    assert await shop.storage.forget(storable_id(LONG)) > 0
    assert await shop.storage.pending_firings() == 0


async def test_a_worker_can_claim_it(shop: Shop) -> None:
    await shop.storage.triggers.install([on_insert()])
    shop.run(MANY)
    now, claimed = await shop.storage.claim_firings(10, timedelta(seconds=30))
    assert [(one.step, one.loop, one.subject, one.data["id"]) for one in claimed] == [
        ("activation", "loop", str(number), number) for number in (1, 2, 3)
    ]
    assert all(now - timedelta(minutes=1) < one.occurred_at == one.due_at <= now for one in claimed) or all(
        abs(one.due_at - one.occurred_at) < timedelta(seconds=1) for one in claimed
    )
    assert len({one.key for one in claimed}) == 3
    assert all(one.key.startswith("database:") and one.failures == 0 for one in claimed)


async def test_each_event_has_its_row(shop: Shop) -> None:
    await shop.storage.triggers.install(ALL)
    shop.run(ADA)
    shop.run("UPDATE users SET plan = 'paid'")
    shop.run("DELETE FROM users")
    assert [(step, data["plan"]) for step, _, data in shop.fired()] == [
        ("activation", "free"),
        ("upgraded", "paid"),
        ("gone", "paid"),
    ]


async def test_an_upsert_is_what_it_does(shop: Shop) -> None:
    await shop.storage.triggers.install(ALL)
    upsert = MANY + " ON CONFLICT (id) DO UPDATE SET plan = excluded.plan"
    shop.run(ADA)
    shop.run(upsert)
    assert sorted((step, subject) for step, subject, _ in shop.fired()) == [
        ("activation", "1"),
        ("activation", "2"),
        ("activation", "3"),
    ]  # ada has the same plan as before: nothing was changed
    shop.run(upsert.replace("'free'", "'trial'"))
    assert [subject for step, subject, _ in shop.fired() if step == "upgraded"] == ["1", "2"]


async def test_what_looks_secret_is_not_copied(shop: Shop) -> None:
    await shop.storage.triggers.install(ALL)
    columns = '"passwordHash", reset_token, api_key, card_number, pin, photo, bio'
    values = "'s3cret1', 's3cret2', 's3cret3', 's3cret4', 's3cret5'"
    shop.run(f"INSERT INTO users (id, email, {columns}) VALUES (1, 'a', {values}, NULL, 'likes it')")
    shop.run("UPDATE users SET pin = 's3cret6', plan = 'paid'")
    shop.run("DELETE FROM users")
    assert len(shop.fired()) == 3
    for _, _, data in shop.fired():
        kept = {"id", "email", "plan", "seats", "active", "score", "bio"}
        assert set(data) - {"photo"} == kept  # of bytes SQLite copies a NULL, at most
    assert "s3cret" not in str(shop.rows("SELECT data FROM skene_firings"))


SECRET = """
    password passwd pass pwd user_password_hash sessionToken salt otp totp2 mfa
    apiKey private_key card iban SSN credentials client_secret cvc
"""
HARMLESS = """
    passenger passed_at compass id name plan basalt hotplate option email
    keyboard public discarded session created_at section pinned postcard
"""


def test_names_that_look_secret() -> None:
    assert [name for name in SECRET.split() if not is_secret(name)] == []
    assert [name for name in HARMLESS.split() if is_secret(name)] == []


async def test_capture_names_what_is_copied(shop: Shop) -> None:
    await shop.storage.triggers.install([on_insert(capture=("email", "pin")), on_delete(capture=())])
    shop.run("INSERT INTO users (id, email, pin, bio) VALUES (1, 'a', '42', 'b')")
    shop.run("DELETE FROM users")
    assert [data for _, _, data in shop.fired()] == [{"email": "a", "pin": "42"}, {}]


async def test_long_values_are_left_out_and_odd_ones_arrive(shop: Shop) -> None:
    await shop.storage.triggers.install([on_insert()])
    odd = "it''s \"ä\" \\ {x} $skene$ 🌱 % line\nbreak"
    shop.run(f"INSERT INTO users (id, email, bio, score) VALUES (1, '{odd}', '{'x' * 10_001}', 0.5)")
    shop.run("INSERT INTO users (id, score) VALUES (2, 1e308)")
    (_, _, first), (_, _, second) = shop.fired()
    assert first["email"] == odd.replace("''", "'")
    assert first["score"] == 0.5
    assert "bio" not in first
    assert second["score"] == 1e308


async def test_a_row_without_a_subject_sets_nothing_off(shop: Shop) -> None:
    await shop.storage.triggers.install(
        [on_insert(subject="email"), on_update(subject="email"), on_delete(subject="email")]
    )
    shop.run("INSERT INTO users (id, email) VALUES (1, NULL), (2, ''), (3, 'ada')")
    shop.run("UPDATE users SET plan = 'paid'")
    shop.run("DELETE FROM users")
    assert shop.subjects() == ["ada"] * 3


PLANS = [None, "free", "paid"]


@pytest.mark.parametrize("wanted", PLANS)
async def test_an_update_counts_when_the_row_comes_to_be_what_is_wanted(
    shop: Shop, wanted: str | None
) -> None:
    await shop.storage.triggers.install(
        [
            on_update(where=(("plan", wanted),)),
            on_update("any", columns=("plan",)),
            on_insert(where=(("plan", wanted),)),
        ]
    )
    pairs = list(itertools.product(PLANS, PLANS))
    for number, (old, new) in enumerate(pairs):
        before, after = ("NULL" if plan is None else f"'{plan}'" for plan in (old, new))
        shop.run(f"INSERT INTO users (id, plan) VALUES ({number}, {before})")
        shop.run(f"UPDATE users SET plan = {after} WHERE id = {number}")
    fired = [(step, int(subject)) for step, subject, _ in shop.fired()]
    came = [number for number, (old, new) in enumerate(pairs) if new == wanted and old != wanted]
    assert [number for step, number in fired if step == "upgraded"] == came
    assert [number for step, number in fired if step == "any"] == [
        n for n, (old, new) in enumerate(pairs) if old != new
    ]
    assert [number for step, number in fired if step == "activation"] == [
        n for n, (old, _) in enumerate(pairs) if old == wanted
    ]


async def test_several_values_are_wanted_together(shop: Shop) -> None:
    where = (("plan", "paid"), ("active", True), ("seats", 5))
    await shop.storage.triggers.install([on_update(where=where, columns=("plan", "seats"))])
    shop.run("INSERT INTO users (id, plan, active, seats) VALUES (1, 'free', true, 5), (2, 'free', NULL, 5)")
    shop.run("UPDATE users SET plan = 'paid'")  # 1 has come to be so
    shop.run("UPDATE users SET bio = 'new'")
    shop.run("UPDATE users SET active = true")  # 2 has, but no column that matters has changed
    shop.run("UPDATE users SET seats = 6")
    shop.run("UPDATE users SET seats = 5")
    assert shop.subjects() == ["1", "1", "2"]


async def test_a_row_that_was_so_before_does_not_come_to_be_so(shop: Shop) -> None:
    await shop.storage.triggers.install([on_update(where=(("plan", "paid"),))])
    shop.run("INSERT INTO users (id, plan) VALUES (1, 'paid'), (2, 'free')")
    shop.run("UPDATE users SET bio = 'new'")
    assert shop.fired() == []
    shop.run("UPDATE users SET bio = 'newer', plan = 'paid'")
    assert shop.subjects() == ["2"]


async def test_an_update_that_changes_nothing_is_none(shop: Shop) -> None:
    await shop.storage.triggers.install([on_update()])
    shop.run(ADA)
    shop.run("UPDATE users SET plan = plan, bio = NULL")
    assert shop.fired() == []
    shop.run("UPDATE users SET bio = ''")
    assert shop.subjects() == ["1"]


async def test_names_need_not_be_plain(shop: Shop) -> None:
    shop.run('CREATE TABLE "Order" ("User" TEXT, "select" TEXT, "a""b" INTEGER)')
    trigger = on_insert("it's.0", "Order", subject="User", where=(("select", "it's \\ $skene$ {digest}"),))
    await shop.storage.triggers.install([trigger])
    shop.run("""INSERT INTO "Order" VALUES ('ada', 'it''s \\ $skene$ {digest}', 1), ('bob', 'x', 2)""")
    assert shop.fired() == [
        ("it's.0", "ada", {"User": "ada", "select": "it's \\ $skene$ {digest}", 'a"b': 1})
    ]
    assert await shop.storage.triggers.missing([trigger]) == ()


async def test_installing_again_changes_nothing(shop: Shop) -> None:
    triggers = shop.storage.triggers
    first = await triggers.install(ALL)
    assert len(first.created) == 3
    assert (first.replaced, first.removed) == ((), ())
    assert await triggers.install(ALL) == Changes()
    assert sorted(await triggers.installed()) == sorted(first.created)


async def test_exactly_the_wanted_ones_are_there_afterwards(shop: Shop) -> None:
    triggers = shop.storage.triggers
    await triggers.install(ALL)
    other = on_update(columns=("plan",))
    assert await triggers.missing([on_insert(), other]) == (other,)
    changes = await triggers.install([on_insert(), other])
    assert changes.created == ()
    assert [name.partition("_up")[0] for name in changes.replaced] == ["skene"]
    assert [name.startswith("skene_delete_gone_") for name in changes.removed] == [True]
    assert await triggers.missing([on_insert(), other]) == ()
    shop.run(ADA)
    shop.run("UPDATE users SET bio = 'x'")
    shop.run("UPDATE users SET plan = 'paid'")
    shop.run("DELETE FROM users")
    assert [step for step, _, _ in shop.fired()] == ["activation", "upgraded"]


async def test_four_that_install_at_once_install_once(shop: Shop) -> None:
    changes: list[Changes] = []

    async def install() -> None:
        storage = shop.again()
        changes.append(await storage.triggers.install(ALL))
        await storage.aclose()

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(install)
    assert sorted(len(one.created) for one in changes) == [0, 0, 0, 3]
    shop.run(ADA)
    assert shop.subjects() == ["1"]


async def test_nothing_is_left_after_removal(shop: Shop) -> None:
    triggers = shop.storage.triggers
    names = (await triggers.install(ALL)).created
    assert shop.traces() > 0
    assert sorted(await triggers.remove()) == sorted(names)
    assert shop.traces() == 0
    assert await triggers.remove() == ()
    assert await triggers.installed() == ()
    assert list(await triggers.missing(ALL)) == ALL
    shop.run(ADA)
    assert shop.fired() == []


async def test_what_is_not_ours_is_left_alone(shop: Shop) -> None:
    await shop.storage.triggers.install(ALL)
    before = shop.traces()
    if isinstance(shop, PostgresShop):
        body = "RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
        shop.run(f"CREATE FUNCTION skene_insert_mine() {body}")
        shop.run("CREATE TRIGGER skene_mine AFTER INSERT ON users EXECUTE FUNCTION skene_insert_mine()")
    else:
        shop.run("CREATE TRIGGER skene_mine AFTER INSERT ON users BEGIN SELECT 1; END")
    mine = shop.traces() - before
    await shop.storage.triggers.install([])
    assert shop.traces() == mine > 0


async def test_the_sql_that_is_shown_is_what_is_installed(shop: Shop) -> None:
    text = await shop.storage.triggers.sql(ALL)
    for _ in range(2):  # and may be run again
        shop.run(text)
        assert await shop.storage.triggers.missing(ALL) == ()
    shop.run(MANY)
    assert shop.subjects() == ["1", "2", "3"]
    assert await shop.storage.triggers.install(ALL) == Changes()


async def test_all_that_does_not_fit_is_told_at_once(shop: Shop) -> None:
    wrong = [
        on_insert("a", "usrs"),
        on_insert("b", subject="ident", capture=("emial",)),
        on_update("c", columns=("plam",), where=(("seat", 1),)),
        on_insert("d", "no_schema.users"),
    ]
    for verb in (shop.storage.triggers.install, shop.storage.triggers.missing):
        with pytest.raises(ConfigurationError) as error:
            await verb(wrong)
        assert [(fault.path, fault.hint) for fault in error.value.faults] == [
            ("a.trigger.table", "users"),
            ("b.trigger.subject", None),
            ("b.trigger.capture", "email"),
            ("c.trigger.columns", "plan"),
            ("c.trigger.where", "seats"),
            ("d.trigger.table", "users"),
        ]
    assert shop.traces() == 0


async def test_a_view_is_no_table(shop: Shop) -> None:
    shop.run("CREATE VIEW customers AS SELECT * FROM users")
    with pytest.raises(ConfigurationError, match="customers"):
        await shop.storage.triggers.install([on_insert(table="customers")])


async def test_without_the_tables_of_skene_nothing_is_installed(shop: Shop) -> None:
    shop.run("DROP TABLE skene_firings")
    with pytest.raises(SchemaOutdated, match="skene db upgrade"):
        await shop.storage.triggers.install(ALL)
    assert shop.traces() == 0


async def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable):
        await SqliteStorage(tmp_path / "none.db").triggers.installed()
    assert not list(tmp_path.iterdir())


async def test_sqlite_copies_a_later_column_once_installed_again(tmp_path: Path) -> None:
    shop = SqliteShop(tmp_path / "app.db")
    await shop.storage.migrate()
    triggers = shop.storage.triggers
    await triggers.install([on_insert()])
    shop.run("ALTER TABLE users ADD COLUMN city TEXT")
    shop.run("INSERT INTO users (id, city, photo, score) VALUES (1, 'Oslo', x'00', 9e999)")
    assert list(await triggers.missing([on_insert()])) == [on_insert()]
    await triggers.install([on_insert()])
    shop.run("INSERT INTO users (id, city) VALUES (2, 'Oslo')")
    (_, _, before), (_, _, after) = shop.fired()
    assert not {"city", "photo", "score"} & set(before)  # nor bytes, nor numbers that JSON does not know
    assert after["city"] == "Oslo"
    await shop.storage.aclose()
