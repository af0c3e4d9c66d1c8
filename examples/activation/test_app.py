import json
import os
import sys
from datetime import timedelta
from pathlib import Path

import anyio
import pytest
import sqlalchemy as sa
import store
from httpx import AsyncClient
from skene_config import activation, skene

from skene import load_loop
from skene.adapters.memory_notifier import MemoryNotifier
from skene.adapters.sqlite import SqliteStorage
from skene.testing import World

ADA = {"id": 1, "email": "ada@acme.test", "name": "Ada"}
AS_ADA = {"Authorization": "Bearer 1"}


async def sign_up(world: World, client: AsyncClient) -> None:
    """A world has no tables: what it hears of them, and what its queries find there, a test says."""
    assert (await client.post("/users", json={"email": "ada@acme.test", "name": "Ada"})).json() == {"id": 1}
    await world.insert("users", ADA)
    await world.drain()


async def create_project(world: World, client: AsyncClient, name: str = "Apollo") -> None:
    assert (await client.post("/projects", json={"name": name}, headers=AS_ADA)).status_code == 201
    world.answer("activation", [{"user_id": 1, "action_type": "first_project_created"}])
    world.answer("onboarding.1", [{"id": 1}])  # its goal


@pytest.fixture(autouse=True)
def nobody_has_a_project(world: World) -> None:
    world.answer("activation", [])
    world.answer("onboarding.1", [])


async def test_a_first_project_within_five_minutes_is_welcomed(client: AsyncClient, world: World) -> None:
    await sign_up(world, client)
    world.clock.advance("4m")
    await create_project(world, client)
    world.clock.advance("1m")
    await world.drain()
    assert world.sent("1") == ["first_steps", "activation_welcome"]
    mail = world.mails("1")[-1]
    assert (mail.to, mail.subject) == ("ada@acme.test", "You are off to a good start, Ada")
    assert "http://localhost:8000/projects" in mail.text


async def test_a_first_project_later_than_that_is_not(client: AsyncClient, world: World) -> None:
    await sign_up(world, client)
    world.clock.advance("5m")
    await world.drain()  # the last look, and there is none yet
    await create_project(world, client)
    world.clock.advance("1d")
    await world.drain()
    assert world.sent("1") == ["first_steps"]
    assert [one.outcome for one in world.log("1") if one.loop == "activation"] == ["not_met"]


async def test_the_goal_is_a_second_project(client: AsyncClient, world: World) -> None:
    await sign_up(world, client)
    await create_project(world, client)
    world.clock.advance("10s")
    await world.drain()
    world.clock.advance("3d")
    await create_project(world, client, "Gemini")
    (row,) = await skene.funnel(loop="activation")
    assert (row.journeys, row.goals) == (1, 1)
    assert row.median_time_to_goal == timedelta(days=3)


async def test_three_mails_for_those_who_do_nothing(client: AsyncClient, world: World) -> None:
    await sign_up(world, client)
    for _ in range(5):
        world.clock.advance("2d")
        await world.drain()
    assert world.sent("1") == ["first_steps", "examples", "need_help"]


async def test_they_stop_as_soon_as_there_is_a_project(client: AsyncClient, world: World) -> None:
    await sign_up(world, client)
    world.clock.advance("1d")
    await world.drain()
    await create_project(world, client)
    world.clock.advance("10m")  # a goal that a query tells of is looked for at least that often
    await world.drain()
    world.clock.advance("1w")
    await world.drain()
    assert world.sent("1") == ["first_steps"]
    last = world.log("1")[-1]
    assert (last.step, last.outcome, last.reason) == ("onboarding.2", "stopped", "the goal is reached")


async def test_whoever_unsubscribes_gets_no_more(client: AsyncClient, world: World) -> None:
    await sign_up(world, client)
    (mail,) = world.mails("1")
    assert mail.unsubscribe_link is not None
    answer = await client.post(mail.unsubscribe_link, data={"List-Unsubscribe": "One-Click"})
    assert "You are unsubscribed" in answer.text
    await create_project(world, client)
    world.clock.advance("1w")
    await world.drain()
    assert world.sent("1") == ["first_steps"]


def test_the_typescript_configuration_is_the_same_loop() -> None:
    seed = json.loads(Path("seed.json").read_text())
    assert load_loop({**seed, "goal": {"type": "event", "event": "second_project"}}) == activation


async def test_with_tables_and_triggers_that_are_real(client: AsyncClient, database: Path) -> None:
    command = [str(Path(sys.executable).with_name("skene")), "db"]
    environment = {**os.environ, "DATABASE_URL": f"sqlite:///{database}"}
    for arguments in (["upgrade"], ["triggers", "--install"]):
        await anyio.run_process([*command, *arguments], env=environment)
    mails = MemoryNotifier()
    with skene.override(storage=SqliteStorage(database), notifiers=mails, worker=False):
        async with skene:
            ada = (await client.post("/users", json={"email": "ada@acme.test", "name": "Ada"})).json()["id"]
            await client.post("/users", json={"email": "bob@acme.test", "name": "Bob"})
            headers = {"Authorization": f"Bearer {ada}"}
            await client.post("/projects", json={"name": "Apollo"}, headers=headers)
            with pytest.raises(sa.exc.IntegrityError):
                await store.run(roll_back)
            await skene.worker.drain()
    sent = sorted((mail.to, mail.template) for mail in mails.sent)
    assert sent == [
        ("ada@acme.test", "activation_welcome"),
        ("ada@acme.test", "first_steps"),
        ("bob@acme.test", "first_steps"),
    ]


def roll_back(connection: sa.Connection) -> None:
    """A user whose transaction fails is nobody to write to."""
    connection.execute(sa.insert(store.users).values(email="eve@acme.test", name="Eve"))
    connection.execute(sa.insert(store.users).values(email=None, name="nobody"))
