"""Decision 31: no secret in a log, a repr, an error, an OpenAPI document, a dump or a mail.

Every secret is one that is found nowhere else. Everything that may be told is collected, at DEBUG and with
every error that can be forced, and searched.
"""

import base64
import json
import logging
from typing import Annotated

import anyio
import asyncpg
import httpx
import pytest
from fastapi import FastAPI, Header

from skene.adapters.system import SystemClock
from skene.fastapi import Gate
from skene.testing.resend_server import FakeResend
from skene.testing.serve import serving
from skene.testing.stripe_server import FakeStripe
from tests.acceptance.secret_things import SECRETS, USERS, make, try_all
from tests.support.postgres import PostgresServer


@pytest.fixture(scope="module")
def server():
    with PostgresServer(tcp=True) as server:
        yield server


@pytest.fixture
def database(server):
    server.create_database("secrets")
    address = server.dsn("secrets", tcp=True)
    yield address.replace("postgres@", f"postgres:{SECRETS['database password']}@")
    server.drop_database("secrets")


def current_user(x_user: Annotated[str | None, Header()] = None) -> str | None:
    return x_user


def forged(path, secret):
    body = json.dumps({"type": "customer.updated", "id": "evt_1", "secret": "none"})
    stamp = f"t={int(SystemClock().now().timestamp())},v1={'0' * 64}"
    standard = {"webhook-id": "msg_1", "webhook-timestamp": stamp[2:12], "webhook-signature": f"v1,{secret}"}
    svix = {name.replace("webhook", "svix"): value for name, value in standard.items()}
    return path, body, {"stripe-signature": stamp, **standard, **svix}


async def visit(said, client):
    """What people and strangers do, and all that they are answered."""
    headers = {"x-user": "ada"}
    answers = [await client.post("/api/features/work", headers=headers) for _ in range(3)]
    answers.append(await client.post("/api/features/work"))
    answers.append(await client.post("/api/features/work", headers={"x-user": "nobody"}))
    for path, body, wrong in (
        forged("/skene/webhooks/stripe", "none"),
        forged("/skene/webhooks/resend", base64.b64encode(b"0" * 32).decode()),
        forged("/skene/webhooks/in/partner", base64.b64encode(b"0" * 32).decode()),
        ("/skene/webhooks/stripe", "", {}),
    ):
        answers.append(await client.post(path, content=body, headers=wrong))
    link = answers[2].json()["upgrade_url"]
    links = (link, link + "x", "/skene/upgrade", "/skene/checkout/return?session_id=cs_none")
    answers += [await client.get(path) for path in links]
    answers += [await client.get(f"/skene/{page}", headers=headers) for page in ("usage", "portal")]
    answers.append(await client.get("/openapi.json"))
    for answer in answers:
        said.add("answers", f"{answer.status_code} {answer.headers} {answer.text}")
    return [answer.status_code for answer in answers]


def careless(said):
    """The control: what a careless line of ours would do, in each of the places."""
    key = SECRETS["stripe key"]

    class Settings:
        __module__ = "skene.adapters.careless"

        def __init__(self):
            self.key = key

        def __repr__(self):
            return f"Settings({self.key!r})"

    try:
        try:
            raise ValueError(f"cannot log in with {SECRETS['valkey password']}")
        except ValueError as cause:
            raise RuntimeError("the server is away") from cause
    except RuntimeError as error:
        said.error(error)
    said.objects(Settings())
    logging.getLogger("skene.careless").debug("posting with %s", {"Authorization": f"Bearer {key}"})
    said.add("mails", base64.b64encode(f"user:{SECRETS['mail password']}".encode()).decode())


PLANTED = {
    "stripe key, in the log",
    "stripe key, in the repr of skene.adapters.careless.careless.<locals>.Settings",
    "valkey password, in errors",
    "mail password, in mails",
}


async def go_wrong(said, skene, client, stripe, resend):
    """Billing and mail answer what they should not, or nothing."""

    async def deliver(body, headers):
        return (await client.post("/skene/webhooks/stripe", content=body, headers=headers)).status_code

    stripe.connect(deliver)
    resend.fail_next(401, "invalid_api_key")
    resend.fail_next(500)
    resend.fail_next(422, "validation_error")
    for status in (401, 500, 429):
        stripe.fail(status, times=9)
        await visit(said, client)
        await try_all(said, skene.worker.drain, lambda: skene.link("bob", "cus_none"))
        await anyio.sleep(1.2)  # until what failed may be tried again
    stripe.fail(500, times=0)
    await try_all(said, lambda: stripe.subscribe("ada", "price_pro"), skene.worker.drain)
    stripe.down = True
    await visit(said, client)
    await skene.emit("paid", "ada", {"amount": 1})
    await try_all(said, skene.worker.drain, lambda: skene.billing_sync.sync("cus_none"))


async def test_a_life_in_which_everything_goes_wrong(said, server, database, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "templates").mkdir()
    raising = "Subject: Welcome\n\n{{ event.name }} {{ event.password_hash }} {{ 1 / 0 }}"
    (tmp_path / "templates" / "activation_welcome.txt").write_text(raising)
    stripe = FakeStripe(
        now=SystemClock().now,
        prices=["price_pro"],
        api_key=SECRETS["stripe key"],
        webhook_secret=SECRETS["stripe signing"],
    )
    resend = FakeResend(now=SystemClock().now, api_keys=[SECRETS["resend key"]])
    with serving(stripe.app) as billing, serving(resend.app) as mail:
        skene = make(database, billing, mail, f"{mail}/no/such/hook")
        gate, app = Gate(skene, subject=current_user), FastAPI()
        gate.install(app)

        @app.post("/api/features/work")
        async def work() -> str:
            return "done"

        driver = await asyncpg.connect(database)
        await driver.execute(USERS)
        await skene.storage.migrate()
        await skene.storage.triggers.install(skene.program.reactions.row_triggers)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with (
            skene.lifespan(app),
            httpx.AsyncClient(transport=transport, base_url="http://app.test") as client,
        ):
            hashed = SECRETS["user password"]
            row = "INSERT INTO users VALUES ('ada', 'ada@app.test', 'Ada', $1, $1)"
            await driver.execute(row, hashed)
            statuses = await visit(said, client)
            assert {200, 303, 400, 401, 402} <= set(statuses), statuses
            await go_wrong(said, skene, client, stripe, resend)
            said.objects(skene, gate, app)
            said.add("answers", repr(await skene.conversions()) + repr(await skene.funnel()))
            rows = await skene.storage.outbox_rows(limit=1000)
            said.add("rows", "\n".join(map(repr, rows)))
            assert {row.state for row in rows} >= {"dead"}, rows
        await driver.close()
        said.add("the dump", server.dump("secrets", "--exclude-table-data=users"))
        for sent in resend.emails:
            said.add("mails", f"{sent.to} {sent.subject} {sent.html} {sent.text} {sent.headers}")
    assert {"sqlalchemy", "httpx", "httpcore", "stripe", "asyncio", "skene"} <= said.log.loggers
    assert "ada@app.test" in said.said["the dump"]
    assert "skene.adapters.stripe.billing.StripeBilling" in str(list(said.said))
    assert said.found() == []
    careless(said)
    assert set(said.found()) == PLANTED
