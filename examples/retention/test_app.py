import json
from datetime import UTC, datetime, timedelta

import store
from httpx import AsyncClient
from skene_config import retention, skene
from standardwebhooks import Webhook

from skene import dump_loop, load_loop
from skene.adapters.resend import ResendNotifier
from skene.errors import DeliveryFailed
from skene.testing import World
from skene.testing import world as enter

ADA = {"id": 1, "email": "ada@acme.test", "name": "Ada", "last_activity_at": "2025-12-20 10:00:00"}
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


async def morning(world: World, loop: str = "retention", *dormant: dict[str, object]) -> None:
    """The next tick of a loop's schedule; a world has no tables, so a test says who has been away."""
    world.answer(loop, list(dormant))
    await world.tick(loop)
    await world.drain()


async def test_who_has_been_away_for_a_week_is_written_to_at_nine(world: World) -> None:
    await morning(world, "retention", ADA)
    (mail,) = world.mails("1")
    assert (mail.to, mail.template) == ("ada@acme.test", "re_engagement")
    assert world.clock.now() == datetime(2026, 1, 2, 9, tzinfo=UTC)


async def test_once_until_they_have_come_back_and_left_again(world: World) -> None:
    for _ in range(3):
        await morning(world, "retention", ADA)
    assert world.sent("1") == ["re_engagement"]
    await morning(world, "retention")  # here again
    await morning(world, "retention", ADA)  # and away
    assert world.sent("1") == ["re_engagement"] * 2


async def test_a_cooldown_and_a_number_of_times(world: World) -> None:
    for _ in range(24):
        await morning(world, "winback", ADA)
    assert [mail.subject for mail in world.mails("1")] == ["We have built a few things since you left"] * 2
    first, second = (journey.begun_at for journey in world.journeys("1"))
    assert second - first >= timedelta(days=90)


async def test_whom_we_have_told_our_table_of(world: World) -> None:
    await morning(world, "winback", ADA)
    user = await store.find_user(1)
    assert user is not None
    assert user["re_engagement_sent"]


async def test_who_comes_back_has_reached_the_goal(client: AsyncClient, world: World) -> None:
    await morning(world, "winback", ADA)
    world.clock.advance("3d")
    await client.get("/home", headers={"Authorization": "Bearer 1"})
    (row,) = await skene.funnel(loop="winback")
    assert (row.journeys, row.goals, row.median_time_to_goal) == (1, 1, timedelta(days=3))


# -- mail that a person accepts --


async def test_two_mails_a_week_at_most(world: World) -> None:
    for _ in range(3):
        await morning(world, "retention")
        await morning(world, "retention", ADA)
    assert len(world.mails("1")) == 2
    world.clock.advance("1w")
    await world.drain()
    assert len(world.mails("1")) == 3  # held back, and not lost


async def test_nobody_is_written_to_at_night(world: World) -> None:
    world.fail_mails(DeliveryFailed("busy", retry_after=timedelta(hours=11)))
    await morning(world, "retention", ADA)
    world.clock.advance("11h")  # 22:00 in Helsinki
    await world.drain()
    assert world.sent("1") == []
    world.clock.advance("10h")
    await world.drain()
    assert world.sent("1") == ["re_engagement"]


async def test_unsubscribing_takes_one_click_and_can_be_undone(client: AsyncClient, world: World) -> None:
    await morning(world, "retention", ADA)
    (mail,) = world.mails("1")
    link = mail.unsubscribe_link
    assert link is not None
    asked = await client.get(link)  # what opens links to look at them unsubscribes nobody
    assert (asked.status_code, "Unsubscribe?" in asked.text) == (200, True)
    done = await client.post(link, data={"List-Unsubscribe": "One-Click"})  # a mail program's button
    assert "You are unsubscribed" in done.text
    await morning(world, "retention")
    await morning(world, "retention", ADA)
    assert world.sent("1") == ["re_engagement"]
    await client.post(f"{link}&undo=1")
    await morning(world, "retention")
    await morning(world, "retention", ADA)
    assert world.sent("1") == ["re_engagement"] * 2


async def test_an_address_that_bounces_is_not_written_to_again(client: AsyncClient) -> None:
    resend = ResendNotifier("re_c1tpEyD8", "Acme <team@acme.test>", webhook_secret=SECRET)
    with skene.override(notifiers=resend), enter(skene) as world:
        await morning(world, "retention", ADA)
        answer = await report_bounce(client, world, secret="whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDxyz0AAAA")
        assert answer == 401
        assert await report_bounce(client, world) == 200
        await morning(world, "retention")
        await morning(world, "retention", ADA)
        assert world.sent("1") == ["re_engagement"]
        assert "the address is suppressed: bounced" in world.describe("1")


async def report_bounce(client: AsyncClient, world: World, secret: str = SECRET) -> int:
    """As Resend reports it, signed."""
    now = world.clock.now()
    said = {"email_id": "kept-1", "to": ["ada@acme.test"], "bounce": {"type": "Permanent"}}
    body = json.dumps({"type": "email.bounced", "created_at": now.isoformat(), "data": said})
    headers = {
        "svix-id": "msg_1",
        "svix-timestamp": str(int(now.timestamp())),
        "svix-signature": Webhook(secret).sign("msg_1", now, body),
    }
    return (await client.post("/skene/webhooks/resend", content=body, headers=headers)).status_code


def test_the_typescript_configuration_differs_in_the_dates_alone() -> None:
    seed, ours = dump_loop(load_loop("seed.json")), dump_loop(retention)
    seed["steps"][0]["condition"]["query"] = ours["steps"][0]["condition"]["query"]
    assert ours == seed
