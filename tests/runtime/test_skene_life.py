"""Swapping back-ends, starting and stopping, wiring."""

import logging
import traceback
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import skene.runtime.skene as runtime
import skene.runtime.worker as worker
from skene import (
    ConfigurationError,
    Profile,
    SchemaOutdated,
    Skene,
    StorageUnavailable,
    action,
)
from skene.adapters.manual import ManualBilling
from skene.adapters.memory import MemoryStorage
from skene.adapters.memory_notifier import MemoryNotifier
from skene.ports.outbox import MessageState
from skene.runtime.links import LinkTarget
from skene.testing.clock import ManualClock
from tests.runtime.shop import Post, Shop, Wire, freemium
from tests.runtime.till import Till

# -- override ----------------------------------------------------------------------------------------------


async def test_override_swaps_everything_and_gives_it_back() -> None:
    shop = Shop()
    own, parts = shop.skene, shop.skene._parts
    names = ("storage", "billing", "notifiers", "clock", "profile", "paused", "log")
    before = {name: getattr(parts, name) for name in names}
    clock = ManualClock(datetime(2030, 1, 1, tzinfo=UTC))
    storage, billing, mail = MemoryStorage(clock=clock), ManualBilling(["paid"]), Post()

    async def nobody(subject: str) -> Profile | None:
        return None

    with own.override(
        storage=storage, billing=billing, notifiers=mail, clock=clock, profile=nobody, worker=False
    ):
        assert (own.storage, own.billing, own.clock) == (storage, billing, clock)
        assert (dict(own.notifiers), parts.profile, parts.paused) == ({"mail": mail}, nobody, True)
        assert parts.links.clock is clock
        assert (await shop.call()).window_start == clock.now()
        with own.override(worker=True):
            assert parts.paused  # an inner one cannot wake what an outer one put to sleep
    assert {name: getattr(parts, name) for name in names[:-1]} == {n: before[n] for n in names[:-1]}
    assert parts.links.clock is shop.clock
    assert shop.wire.verbs == []


async def test_override_gives_back_after_an_exception() -> None:
    shop = Shop()
    with pytest.raises(ZeroDivisionError), shop.skene.override(storage=MemoryStorage()):
        raise ZeroDivisionError
    assert shop.skene.storage is shop.wire  # type: ignore[comparison-overlap] # it answers every verb


def test_one_notifier_stands_in_for_every_provider_that_loops_name() -> None:
    loop = freemium(
        notify_at=(0.5,),
        warning=action.email("usage_warning", provider="sms"),
        upgrade_prompt=action.email("upgrade_prompt", provider="resend"),
    )
    mail = Post()
    shop = Shop(loop)
    with shop.skene.override(notifiers=mail):
        assert shop.skene.notifiers == {"mail": mail, "resend": mail, "sms": mail}
        assert shop.skene.faults() == ()
    with shop.skene.override(notifiers={"only": mail}):
        assert shop.skene.notifiers == {"only": mail}
    bare = Shop(freemium(upgrade_prompt=None), notifiers={})
    with bare.skene.override(notifiers=mail):
        assert bare.skene.notifiers == {"default": mail}


async def test_what_a_running_worker_does_follows_the_swap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "POLL", 0.001)
    shop, mail = Shop(freemium(1)), Post()
    async with shop.skene.lifespan():
        with shop.skene.override(notifiers=mail), anyio.fail_after(5):
            await shop.refuse()
            await mail.arrived.wait()
    assert shop.mail.attempts == []


# -- life --------------------------------------------------------------------------------------------------


class Diary:
    """Writes down in which order things are opened and closed."""

    def __init__(self, *failing: str) -> None:
        self.lines: list[str] = []
        self.failing = failing

    def wrap(self, name: str, thing: Any, hangs: bool = False) -> Any:
        closing = thing.aclose
        diary = self

        async def aclose() -> None:
            if hangs:
                await anyio.sleep_forever()
            await anyio.lowlevel.checkpoint()
            await closing()
            diary.lines.append(f"{name} closed")
            if name in diary.failing:
                raise RuntimeError(name)

        thing.aclose = aclose
        return thing


async def test_the_storage_opens_first_and_closes_last_and_the_worker_lives_between() -> None:
    diary = Diary()
    shop = Shop(freemium(1), billing=diary.wrap("billing", ManualBilling()), mail=diary.wrap("mail", Post()))
    diary.wrap("storage", shop.wire)
    async with shop.skene.lifespan():
        with anyio.fail_after(5):
            await shop.refuse()
            await shop.mail.arrived.wait()
        assert diary.lines == []
    assert shop.wire.verbs[0] == "start"
    assert diary.lines == ["mail closed", "billing closed", "storage closed"]
    assert shop.states() == [MessageState.SENT]


async def test_entering_the_lifespan_twice_is_once() -> None:
    shop = Shop()
    async with shop.skene.lifespan(), shop.skene.lifespan():
        assert shop.wire.count("start") == 1
    assert shop.wire.count("aclose") == 1
    async with shop.skene.lifespan():
        pass
    assert (shop.wire.count("start"), shop.wire.count("aclose")) == (2, 2)


async def test_without_a_worker_nothing_is_sent() -> None:
    shop = Shop(freemium(1), worker=False)
    async with shop.skene.lifespan():
        await shop.refuse()
        for _ in range(50):
            await anyio.lowlevel.checkpoint()
    assert "claim" not in shop.wire.verbs


async def test_what_the_app_raises_comes_out_as_it_is() -> None:
    shop = Shop()
    with pytest.raises(ZeroDivisionError):
        async with shop.skene.lifespan():
            raise ZeroDivisionError
    assert shop.wire.count("aclose") == 1
    with pytest.raises(ZeroDivisionError):
        async with shop.skene:
            raise ZeroDivisionError


async def test_a_start_that_fails_can_be_tried_again() -> None:
    shop = Shop()
    shop.wire.cut = {"start"}
    with pytest.raises(StorageUnavailable):
        async with shop.skene.lifespan():
            pytest.fail("the storage is away")
    shop.wire.cut = set()
    async with shop.skene.lifespan():
        assert shop.wire.count("start") == 2


async def test_one_that_fails_to_close_keeps_no_other_from_closing() -> None:
    diary = Diary("mail", "billing")
    shop = Shop(billing=diary.wrap("billing", ManualBilling()), mail=diary.wrap("mail", Post()))
    diary.wrap("storage", shop.wire)
    with pytest.raises(RuntimeError):
        await shop.skene.aclose()
    assert diary.lines == ["mail closed", "billing closed", "storage closed"]


async def test_one_that_hangs_while_closing_holds_nobody_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "SHUTDOWN", timedelta(seconds=0.05))
    diary = Diary()
    shop = Shop(mail=diary.wrap("mail", Post(), hangs=True))
    with anyio.fail_after(5):
        await shop.skene.aclose()
    assert diary.lines == []


async def test_closing_finishes_while_the_server_is_being_cancelled() -> None:
    diary = Diary()
    shop = Shop(mail=diary.wrap("mail", Post()))
    diary.wrap("storage", shop.wire)
    with anyio.CancelScope() as scope:
        async with shop.skene.lifespan():
            scope.cancel()
            await anyio.lowlevel.checkpoint()
    assert diary.lines == ["mail closed", "storage closed"]


async def test_an_open_skene_for_scripts() -> None:
    shop = Shop()
    async with shop.skene as opened:
        assert opened is shop.skene
        assert (await opened.consume("ada", "calls")).allowed
    assert (shop.wire.verbs[0], shop.wire.verbs[-1]) == ("start", "aclose")


# -- wiring ------------------------------------------------------------------------------------------------


def skene(**options: Any) -> Skene:
    return Skene(freemium(), storage=MemoryStorage(), notifiers={"mail": MemoryNotifier()}, **options)


def token(one: Skene) -> str:
    return one._parts.links.upgrade(wall="w").partition("token=")[2]


def test_links_of_one_secret_work_in_every_process_and_those_of_none_in_their_own() -> None:
    assert skene(secret="s" * 32)._parts.links.read(token(skene(secret=b"s" * 32))) == LinkTarget("w", None)
    with pytest.raises(Exception, match="not one of ours"):
        skene()._parts.links.read(token(skene()))
    one = skene()
    assert one._parts.links.read(token(one)).wall == "w"


def test_a_secret_that_is_none_is_told_without_it() -> None:
    with pytest.raises(ConfigurationError, match=r"secret=…\): got a value of type dict; give text or bytes"):
        skene(secret={"key": "hunter2"})


def test_without_a_secret_billings_own_signs_so_processes_agree() -> None:
    till = Till()
    assert till.twin().skene._parts.links.read(token(till.skene)).wall == "w"


def test_the_prefix_and_the_public_address_are_where_links_lead() -> None:
    made = skene(public_url="https://app.test/", prefix="/grow")
    assert made._parts.links.upgrade(wall="w").startswith("https://app.test/grow/upgrade?token=")
    assert made.public_origin == "https://app.test"
    assert (made.prefix, made.logger.name) == ("/grow", "skene")


async def test_two_loops_of_one_name_do_not_start() -> None:
    with pytest.raises(ConfigurationError, match="two loops of this name"):
        await Shop(freemium(), freemium()).skene.start()


def test_the_parts_in_use() -> None:
    shop = Shop()
    one = shop.skene
    assert isinstance(one.storage, Wire)
    assert one.gatekeeper is one.gatekeeper
    assert (one.notifiers["mail"], one.clock) == (shop.mail, shop.clock)
    assert one.loops[0].key == "freemium"


async def test_what_a_database_raises_beneath_is_not_in_the_way_of_the_message(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shop = Shop()
    beneath = OSError("words of the driver")

    async def start() -> None:
        raise SchemaOutdated("run `skene db upgrade`") from beneath

    monkeypatch.setattr(shop.skene.storage, "start", start)
    caplog.set_level(logging.DEBUG, "skene")
    with pytest.raises(SchemaOutdated) as caught:
        await shop.skene.start()
    assert "words of the driver" not in "".join(traceback.format_exception(caught.value))
    (record,) = caplog.records
    assert record.levelname == "DEBUG"
