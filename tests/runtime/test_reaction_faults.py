"""What keeps loops that firings drive from starting, and what is only a warning."""

from typing import Any

import pytest

from skene import ConfigurationError, action, condition, step, trigger
from skene.adapters.memory.queries import MemoryQueries
from skene.adapters.webhook import StandardWebhookSource, WebhookNotifier
from skene.engine.rowtrigger import RowTrigger
from skene.errors import QueryRefused, QueryTimeout, StorageUnavailable
from tests.runtime.reacting import IDLE, daily, loop, mail, on
from tests.runtime.shop import Shop, freemium

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
HOOKS = WebhookNotifier("https://hooks.acme.test/in", SECRET)


def faults(*loops: Any, **options: Any) -> list[str]:
    return [str(fault) for fault in Shop(*loops, **options).skene.faults()]


async def refused(*loops: Any, **options: Any) -> list[str]:
    """What the database has to say when it starts."""
    shop = Shop(*loops, **options)
    with pytest.raises(ConfigurationError) as caught:
        await shop.skene.start()
    return [str(fault) for fault in caught.value.faults]


# -- before anything is opened -----------------------------------------------------------------------------


def test_a_source_that_nobody_has_given() -> None:
    one = loop(step(trigger=trigger.webhook("crn", subject="data.user"), action=mail()))
    assert faults(one) == [
        "activation.steps[0].trigger.source: got 'crn', which is not among the sources; "
        "give one of those given to Skene(sources=…): none"
    ]
    near = faults(one, sources={"crm": StandardWebhookSource(SECRET)})
    assert near == [
        "activation.steps[0].trigger.source: got 'crn', which is not among the sources; "
        "give one of those given to Skene(sources=…): crm; did you mean crm?"
    ]


def test_a_webhook_that_nobody_sends() -> None:
    one = loop(on(action=[mail(), action.webhook("hook", "user.joined")]))
    (fault,) = faults(one, notifiers={"mail": Shop().mail, "hooks": HOOKS})
    assert fault.startswith(
        "activation.steps[0].action[1].provider: got 'hook', which is not among the notifiers; "
        "give a WebhookNotifier among those given to Skene: mail, hooks; did you mean"
    )
    assert faults(loop(on(action=action.webhook("hooks", "user.joined"))), notifiers={"hooks": HOOKS}) == []


def test_a_webhook_through_somebody_who_sends_mails() -> None:
    (fault,) = faults(loop(on(action=action.webhook("mail", "user.joined"))))
    assert fault.startswith("activation.steps[0].action.event: got 'user.joined'")


def test_a_webhook_s_own_values_are_checked() -> None:
    one = loop(on(action=action.webhook("hooks", "user.joined", payload={"name": "{{ user.name"})))
    (fault,) = faults(one, notifiers={"hooks": HOOKS})
    assert fault.startswith("activation.steps[0].action.event: got 'user.joined'; give an event that can be")
    assert "name" in fault


def test_a_mail_of_a_loop_without_its_template_provider_or_variables() -> None:
    (missing,) = faults(loop(on(action=mail("activation_welcom"))))
    assert missing.startswith("activation.steps[0].action.template: got 'activation_welcom'; give one that")
    assert missing.endswith("did you mean 'activation_welcome'?")
    (provider,) = faults(loop(on(action=[mail(), action.email("re_engagement", provider="mial")])))
    assert provider.startswith("activation.steps[0].action[1].provider: got 'mial'")
    (broken,) = faults(loop(on(action=mail(personalization={"name": "{{ user.name"}))))
    assert "activation.steps[0].action.template" in broken
    (nobody,) = faults(loop(on()), notifiers={})
    assert "no notifier at all" in nobody


def test_a_meter_that_no_limit_counts_on() -> None:
    (level,) = faults(loop(on(condition=condition.usage(at=1, meter="cals"))), freemium())
    assert "activation.steps[0].condition.meter" in level
    assert "did you mean" in level
    (grant,) = faults(loop(on(action=action.grant(5))))
    assert "activation.steps[0].action.meter" in grant


def test_everything_is_told_at_once_and_each_thing_once() -> None:
    bad = loop(
        step(trigger=trigger.webhook("crm", subject="id"), action=mail("nowhere"), then="1d", name="a"),
        step(action=[action.webhook("hooks", "x"), mail("nowhere_else")], name="b"),
    )
    found = faults(bad)
    assert len(found) == 4
    assert len(set(found)) == 4


class WithoutQueries:
    """A storage that knows of no tables of the app's."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        if name in ("queries", "triggers"):
            raise AttributeError(name)
        return getattr(self._inner, name)


def test_a_query_and_a_storage_that_runs_none() -> None:
    one = loop(
        on(condition=condition.query("SELECT 1 WHERE $1 = 'a'"), then="1d"),
        step(action=mail()),
        goal=condition.query("SELECT 2 WHERE $1 = 'a'"),
    )
    shop = Shop(one)
    shop.skene._parts.storage = WithoutQueries(shop.memory)  # type: ignore[assignment] # it has all else
    says = "got a query, and a storage that runs none; give Skene(queries=…)"
    assert [str(one) for one in shop.skene.faults()] == [
        f"activation.steps[0].condition.query: {says}",
        f"activation.goal.query: {says}",
    ]
    shop.skene._parts.own_queries = MemoryQueries()
    assert shop.skene.faults() == ()


# -- on the database as it is ------------------------------------------------------------------------------


class Database(MemoryQueries):
    """A database with an opinion on each statement."""

    def __init__(self, says: Any) -> None:
        super().__init__()
        self.says = says
        self.checked: list[str] = []

    async def check(self, select: Any) -> tuple[str, ...]:
        self.checked.append(select.text)
        if isinstance(self.says, Exception):
            raise self.says
        return tuple(self.says)


async def test_every_query_is_prepared_at_the_start_wherever_it_stands() -> None:
    one, two, three = (f"SELECT {n} AS id WHERE $1 = 'a'" for n in "123")
    nested = condition.any_of(condition.not_(condition.query(one)), condition.query(two))
    database = Database(["id"])
    shop = Shop(
        loop(on(condition=nested), goal=condition.query(three)), loop(daily(), name="r"), queries=database
    )
    await shop.skene.start()
    assert database.checked == [one, two, three, IDLE]


async def test_a_query_that_cannot_be_run() -> None:
    database = Database(QueryRefused('relation "users" does not exist'))
    found = await refused(loop(daily(), goal=condition.query("SELECT 1 WHERE $1 = 'a'")), queries=database)
    says = 'got a query that cannot be run: relation "users" does not exist; give one that can'
    assert found == [f"activation.steps[0].condition.query: {says}", f"activation.goal.query: {says}"]


@pytest.mark.parametrize(
    ("columns", "subject", "says"),
    [
        (["userid", "email"], None, "did you mean"),
        (["email", "plan"], None, "give one with a column subject or user_id or id, or subject=…"),
        (["id", "owner_id"], "owner", "give one with a column owner, or subject=…; did you mean"),
    ],
)
async def test_a_scan_that_says_nobody(columns: list[str], subject: str | None, says: str) -> None:
    one = loop(daily(condition=condition.query(IDLE, subject=subject)))
    (fault,) = await refused(one, queries=Database(columns))
    assert fault.startswith(
        f"activation.steps[0].condition.query: got a result with the columns {', '.join(columns)}"
    )
    assert says in fault


@pytest.mark.parametrize(
    ("columns", "subject"), [(["id"], None), (["x", "user_id"], None), (["owner"], "owner"), ([], None)]
)
async def test_a_scan_that_says_who(columns: list[str], subject: str | None) -> None:
    one = loop(daily(condition=condition.query(IDLE, subject=subject)))
    await Shop(one, queries=Database(columns)).skene.start()


async def test_a_query_about_one_subject_needs_no_such_column() -> None:
    asked = loop(on(condition=condition.query("SELECT name FROM users WHERE login = $1")))
    await Shop(asked, queries=Database(["name"])).skene.start()


@pytest.mark.parametrize("error", [QueryTimeout("too slow"), StorageUnavailable("away")])
async def test_what_cannot_be_looked_at_is_a_warning(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    await Shop(loop(daily()), queries=Database(error)).skene.start()
    assert f"not checked at the start: activation.steps[0].condition.query: {error}" in caplog.text


class Triggers:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    async def missing(self, wanted: tuple[RowTrigger, ...]) -> tuple[RowTrigger, ...]:
        if self.error is not None:
            raise self.error
        return wanted


def inserted(table: str) -> Any:
    return step(trigger=trigger.database(table, event="insert"), action=mail())


async def test_triggers_that_are_not_installed_are_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    shop = Shop(loop(inserted("users")), loop(inserted("shop.orders"), inserted("users"), name="second"))
    shop.memory.triggers = Triggers()  # type: ignore[attr-defined] # as an SQL storage has them
    await shop.skene.start()
    assert "rows of users, shop.orders set nothing off yet; run `skene db triggers --install`" in caplog.text


@pytest.mark.parametrize("error", [StorageUnavailable("away"), ConfigurationError("no such table")])
async def test_triggers_that_cannot_be_looked_at_are_a_warning(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    shop = Shop(loop(inserted("users")))
    shop.memory.triggers = Triggers(error)  # type: ignore[attr-defined] # as above
    await shop.skene.start()
    assert f"not checked at the start: the database's triggers: {error}" in caplog.text


async def test_a_world_without_triggers_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    await Shop(loop(inserted("users"))).skene.start()
    assert caplog.text == ""
