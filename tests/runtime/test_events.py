"""Telling of events: what is taken, what is refused, and what counts once."""

import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest

from skene import SubjectInvalid, step, trigger
from skene.errors import StorageUnavailable, WebhookRejected
from skene.ports.contacts import Suppressed
from skene.ports.firings import Outcome
from skene.ports.notifier import Report
from skene.ports.sources import SourceEvent
from skene.runtime.mailing import address_digest
from tests.runtime.reacting import got, loop, mail, on, outcomes
from tests.runtime.shop import Post, Shop, drain, freemium


@pytest.fixture
def shop() -> Shop:
    return Shop(loop(on()), loop(on(), name="second"), freemium())


async def test_an_event_sets_off_every_step_that_listens(shop: Shop) -> None:
    assert await shop.skene.emit("signed.up", "ada") == 2
    assert await shop.skene.emit("signed.up", "bob") == 2
    await drain(shop)
    assert outcomes(shop) == [Outcome.ACTED] * 4


async def test_it_is_written_down_before_emit_returns(shop: Shop) -> None:
    await shop.skene.emit("signed.up", "ada", {"team": ("Blue", 1)})
    (first, second) = shop.memory.waiting()
    assert first.data == second.data == {"team": ["Blue", 1]}
    shop.wire.cut = {"emit"}
    with pytest.raises(StorageUnavailable):
        await shop.skene.emit("signed.up", "ada")


async def test_what_is_told_later_of_the_data_changes_nothing(shop: Shop) -> None:
    data = {"teams": ["Blue"]}
    await shop.skene.emit("signed.up", "ada", data)
    data["teams"].append("Red")
    assert shop.memory.waiting()[0].data == {"teams": ["Blue"]}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (["team"], "give values by name"),
        ("team", "give values by name"),
        (7, "give values by name"),
        ({"at": datetime(2026, 1, 1)}, "no JSON"),  # noqa: DTZ001 - whatever it is, it is refused
        ({"n": math.nan}, "no JSON"),
        ({"n": math.inf}, "no JSON"),
        ({"n": 1e400}, "no JSON"),
        ({"half": "\ud800"}, "no JSON"),
        ({"set": {1}}, "no JSON"),
        ({(1, 2): 3}, "no JSON"),
        ({"text": "x" * 65_530}, "got 65,542 bytes of JSON; give up to 65,536"),
        ({"text": "ö" * 33_000}, "bytes of JSON"),
    ],
)
async def test_data_that_cannot_be_kept_is_refused_at_once(shop: Shop, data: Any, says: str) -> None:
    with pytest.raises(ValueError, match=r"^data: got ") as caught:
        await shop.skene.emit("signed.up", "ada", data)
    assert says in str(caught.value)
    assert "emit" not in shop.wire.verbs


async def test_data_without_an_end_is_refused(shop: Shop) -> None:
    endless: dict[str, Any] = {}
    endless["self"] = endless
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"in": deep}
    for one in (endless, deep):
        with pytest.raises(ValueError, match="no JSON"):
            await shop.skene.emit("signed.up", "ada", one)


async def test_as_much_as_allowed_is_taken(shop: Shop) -> None:
    data = {"text": "x" * (65_536 - len('{"text": ""}'))}
    assert len(json.dumps(data)) == 65_536
    assert await shop.skene.emit("signed.up", "ada", data) == 2


@pytest.mark.parametrize("subject", ["", None, 7, b"ada"])
async def test_somebody_must_have_done_it(shop: Shop, subject: Any) -> None:
    with pytest.raises(SubjectInvalid):
        await shop.skene.emit("signed.up", subject)


async def test_any_id_that_an_app_may_have_can_be_told_of(shop: Shop) -> None:
    for subject in ("ö" * 5000, "a\x00b", "\ud800", " ", "ada\n"):
        assert await shop.skene.emit("signed.up", subject) == 2


async def test_an_event_that_nobody_listens_to_is_a_warning_once(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(5):
        assert await shop.skene.emit("signed.upp", "ada") == 0
    assert [one.getMessage() for one in caplog.records] == [
        "no loop listens to the event 'signed.upp'; did you mean 'signed.up'?"
    ]
    caplog.clear()
    shop.clock.advance("1s")
    await shop.skene.emit("quite.another", "ada")
    assert "did you mean" not in caplog.text
    assert "no loop listens" in caplog.text


async def test_skene_s_own_event_is_nobody_else_s(shop: Shop) -> None:
    with pytest.raises(ValueError, match=r"'plan\.changed' is told by skene itself"):
        await shop.skene.emit("plan.changed", "ada")


async def test_a_key_makes_it_count_once_for_each_subject_and_event() -> None:
    shop = Shop(loop(on()), loop(on("paid.up"), name="second"))
    assert await shop.skene.emit("signed.up", "ada", idempotency_key="k") == 1
    assert await shop.skene.emit("signed.up", "ada", {"other": 1}, idempotency_key="k") == 0
    assert await shop.twin().skene.emit("signed.up", "ada", idempotency_key="k") == 0
    assert await shop.skene.emit("signed.up", "bob", idempotency_key="k") == 1
    assert await shop.skene.emit("paid.up", "ada", idempotency_key="k") == 1
    assert await shop.skene.emit("signed.up", "ada", idempotency_key="l") == 1
    await drain(shop)
    assert len(got(shop, "ada")) == 3
    shop.clock.advance("30d")
    assert await shop.skene.emit("signed.up", "ada", idempotency_key="k") == 0  # for ever


async def test_a_goal_that_is_told_again_stays_when_it_was() -> None:
    shop = Shop(loop(on(), goal=trigger.event("project.created")))
    await shop.skene.emit("signed.up", "ada")
    await drain(shop)
    at = shop.clock.advance("1h")
    await shop.skene.emit("project.created", "ada")
    shop.clock.advance("1h")
    await shop.skene.emit("project.created", "ada")
    assert [one.goal_at for one in shop.memory.journeys] == [at]


# -- signed webhooks ---------------------------------------------------------------------------------------


class Crm:
    """A source whose webhooks are what a test says; `sig` is its signature."""

    def parse(self, body: bytes, headers: Mapping[str, str], now: datetime) -> SourceEvent:
        if headers.get("sig") != "good":
            raise WebhookRejected("the signature does not match", status=401)
        said = json.loads(body)
        return SourceEvent(said["id"], said.get("type", ""), said)


def listening(**options: Any) -> Any:
    options.setdefault("subject", "data.user")
    return step(trigger=trigger.webhook("crm", **options), action=mail())


def told(number: str = "e1", kind: str = "deal.won", **data: Any) -> bytes:
    return json.dumps({"id": number, "type": kind, "data": data}).encode()


SIGNED = {"sig": "good"}


async def test_a_webhook_sets_off_the_steps_of_its_type_and_source() -> None:
    won, every = listening(event="deal.won"), listening()
    shop = Shop(loop(won), loop(every, name="every"), sources={"crm": Crm(), "other": Crm()})
    receive = shop.skene.receive_event
    assert await receive("crm", told(user="ada"), SIGNED) == 2
    assert await receive("crm", told("e2", "deal.lost", user="ada"), SIGNED) == 1
    assert await receive("other", told("e3", user="ada"), SIGNED) == 0
    await drain(shop)
    assert len(got(shop, "ada")) == 3


async def test_a_webhook_that_comes_again_counts_once() -> None:
    shop = Shop(loop(listening()), sources={"crm": Crm(), "second": Crm()})
    assert await shop.skene.receive_event("crm", told(user="ada"), SIGNED) == 1
    for _ in range(3):
        assert (
            await shop.twin(sources={"crm": Crm()}).skene.receive_event("crm", told(user="ada"), SIGNED) == 0
        )
    await drain(shop)
    assert got(shop) == ["activation_welcome"]


async def test_a_webhook_about_two_subjects_reaches_both_also_in_two_attempts() -> None:
    buyer, seller = listening(subject="data.buyer"), listening(subject="data.seller")
    shop = Shop(loop(buyer), loop(seller, name="seller"), sources={"crm": Crm()})
    body = told(buyer="ada", seller=7)

    def second_time() -> None:
        shop.wire.cut = {"emit"} if shop.wire.count("emit") == 2 else set()

    shop.wire.before["emit"] = second_time
    with pytest.raises(StorageUnavailable):
        await shop.skene.receive_event("crm", body, SIGNED)
    assert await shop.skene.receive_event("crm", body, SIGNED) == 1
    await drain(shop)
    assert sorted(shop.reached) == ["7@acme.test", "ada@acme.test"]


@pytest.mark.parametrize(
    "data", [{}, {"user": None}, {"user": ""}, {"user": {}}, {"user": True}, {"user": 1.5}]
)
async def test_a_webhook_that_names_nobody_is_left_out_with_a_warning(
    data: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    shop = Shop(loop(listening()), sources={"crm": Crm()})
    assert await shop.skene.receive_event("crm", told(**data), SIGNED) == 0
    assert "a webhook from crm names no subject at data.user: step activation leaves it out" in caplog.text


async def test_who_is_not_authentic_sets_nothing_off() -> None:
    shop = Shop(loop(listening()), sources={"crm": Crm()})
    with pytest.raises(WebhookRejected):
        await shop.skene.receive_event("crm", told(user="ada"), {"sig": "forged"})
    with pytest.raises(LookupError):
        await shop.skene.receive_event("crn", told(user="ada"), SIGNED)
    assert "emit" not in shop.wire.verbs


# -- reports -----------------------------------------------------------------------------------------------


class Telling(Post):
    """A provider that reports what a test says."""

    report: Report | None = None

    def parse_report(self, body: bytes, headers: Mapping[str, str], now: datetime) -> Report | None:
        return self.report


@pytest.mark.parametrize(
    ("report", "kind"),
    [
        (Report("bounced", "ada@acme.test", "x", "r1", True), Suppressed.BOUNCED),
        (Report("bounced", "ada@acme.test", "x", "r1", False), None),
        (Report("complained", "ADA@acme.test", None, "r1", True), Suppressed.COMPLAINED),
        (Report("complained", None, None, "r1", True), None),
        (Report("delivered", "ada@acme.test", "x", "r1", False), None),
        (Report("failed", "ada@acme.test", "x", "r1", False), None),
        (None, None),
    ],
)
async def test_only_what_is_for_good_silences_an_address(
    report: Report | None, kind: Suppressed | None
) -> None:
    shop = Shop(loop(on()), mail=Telling())
    shop.mail.report = report  # type: ignore[attr-defined] # it is Telling
    assert await shop.skene.receive_report("mail", b"{}", {}) is (kind is not None)
    assert not await shop.skene.receive_report("mail", b"{}", {})  # the same again changes nothing
    found = await shop.memory.suppressions(address=address_digest("ada@acme.test"))
    assert [(one.kind, one.source) for one in found] == ([] if kind is None else [(kind, "mail")])


async def test_a_click_marks_the_journey() -> None:
    shop = Shop(loop(on()), mail=Telling())
    await shop.skene.emit("signed.up", "ada")
    await drain(shop)
    (row,) = await shop.skene.outbox(subject="ada")
    shop.mail.report = Report("clicked", "ada@acme.test", row.provider_id, "r1", False)  # type: ignore[attr-defined] # as above
    assert await shop.skene.receive_report("mail", b"{}", {})
    (way,) = shop.memory.journeys
    assert way.clicked_at == shop.clock.now()


@pytest.mark.parametrize("channel", ["mial", "plain"])
async def test_a_channel_that_takes_no_reports(channel: str) -> None:
    shop = Shop(loop(on()))
    shop.skene._parts.notifiers = {"mail": shop.mail, "plain": Post()}
    with pytest.raises(LookupError):
        await shop.skene.receive_report(channel, b"{}", {})


# -- the log -----------------------------------------------------------------------------------------------


async def test_the_log_is_read_by_loop_subject_outcome_and_time(shop: Shop) -> None:
    await shop.skene.emit("signed.up", "ada")
    await drain(shop)
    later = shop.clock.advance("1h")
    await shop.skene.emit("signed.up", "bob")
    await drain(shop)
    assert len(await shop.skene.log()) == 4
    assert {one.subject for one in await shop.skene.log(since=later)} == {"bob"}
    assert [one.loop for one in await shop.skene.log(subject="ada", loop="second")] == ["second"]
    assert await shop.skene.log(outcome=Outcome.FAILED) == ()
    assert len(await shop.skene.log(limit=3)) == 3
    with pytest.raises(ValueError, match="give a time with its zone"):
        await shop.skene.log(since=datetime(2026, 1, 1))  # noqa: DTZ001 - what is refused
