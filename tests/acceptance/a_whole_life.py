"""An app with loops of every kind, and one customer's life that leaves something in every table."""

import asyncpg
import httpx
from fastapi import FastAPI, Request

from skene import UNLIMITED, Profile, Skene, action, condition, define_loop, step, trigger
from skene.adapters.memory_notifier import MemoryNotifier
from skene.adapters.postgres import PostgresStorage
from skene.adapters.sql.pruning import note_how_far
from skene.adapters.stripe import StripeBilling
from skene.definitions.step import wait
from skene.errors import DeliveryRefused
from skene.fastapi import Gate
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import call, charge
from skene.testing.stripe_server import FakeStripe

__all__ = ["USERS", "Life", "Person"]


def _subject(request: Request) -> str | None:
    return request.headers.get("x-user")


def _member(request: Request) -> str | None:
    return request.headers.get("x-member")


async def _work() -> str:
    return "done"


USERS = "CREATE SCHEMA app; CREATE TABLE app.users (id text PRIMARY KEY, email text, name text)"
WORDS = {"name": "{{user.name}}", "activationLink": "https://app.test", "lastActivity": "{{event.name}}"}
LOOPS = [
    define_loop(
        type="freemium",
        steps=[
            step(
                trigger=trigger.api("/api/features/*", method="POST"),
                condition=condition.usage(
                    limit={"free": 2, "pro": UNLIMITED}, period="30d", meter="calls", member_limit={"free": 2}
                ),
                action=action.block(
                    "Limit.",
                    upgrade_prompt=action.email("upgrade_prompt", provider="resend"),
                    notify_at=(0.5,),
                ),
            )
        ],
    ),
    define_loop(
        type="freemium",
        name="tokens",
        steps=[
            step(
                condition=condition.usage(
                    limit={"free": 1000, "pro": UNLIMITED}, period="30d", meter="tokens", lease=10
                ),
                action=action.block("Limit."),
            )
        ],
    ),
    define_loop(
        type="activation",
        goal=trigger.event("project.created"),
        steps=[
            step(
                name="welcome",
                trigger=trigger.database("app.users", event="insert"),
                action=action.email("activation_welcome", provider="resend", personalization=WORDS),
                then=wait("2d"),
            ),
            step(
                name="again",
                action=action.email("re_engagement", provider="resend", personalization=WORDS),
                max_fires=3,
            ),
        ],
    ),
    define_loop(
        type="retention",
        steps=[
            step(
                trigger=trigger.schedule("* * * * *"),
                condition=condition.query("SELECT id, email, name FROM app.users"),
                action=action.email("re_engagement", provider="resend", personalization=WORDS),
            )
        ],
    ),
]


class Person:
    """Somebody with names that are found nowhere else."""

    def __init__(self, key: str) -> None:
        self.subject, self.visitor = f"Vj8{key}-subject", f"Vj8{key}-visitor"
        self.email, self.name = f"vj8{key}-mail@people.test", f"Vj8{key} Łovelace"
        self.customer = ""

    @property
    def names(self) -> dict[str, str]:
        """What nobody may find any more."""
        names = {"id": self.subject, "visitor": self.visitor, "e-mail": self.email, "name": self.name}
        return {**names, "customer": self.customer} if self.customer else names


class Ear:
    """A hook that takes some events, and refuses others: those stay."""

    def __init__(self) -> None:
        self.heard = 0

    async def handle(self, event) -> None:
        self.heard += 1
        if self.heard % 2:
            raise DeliveryRefused("not today")

    async def aclose(self) -> None: ...


class Life:
    """The app, and what a person does in it."""

    def __init__(self, dsn: str) -> None:
        self.clock = ManualClock()
        self.people: dict[str, Person] = {}
        self.stripe = FakeStripe(now=self.clock.now, prices=["price_pro"])
        self.mail = MemoryNotifier()
        self.dsn = dsn
        self.storage = PostgresStorage(dsn, clock=self.clock, migrate=True)
        self.skene = Skene(
            *LOOPS,
            storage=self.storage,
            billing=StripeBilling(
                self.stripe.api_key,
                self.stripe.webhook_secret,
                {"price_pro": "pro"},
                transport=httpx.ASGITransport(self.stripe.app),
            ),
            notifiers={"resend": self.mail},
            hooks={"warehouse": Ear()},
            profile=self._profile,
            clock=self.clock,
            worker=False,
        )
        self.app = FastAPI()
        self.app.add_api_route("/api/features/work", _work, methods=["POST"])
        Gate(self.skene, subject=_subject, member=_member).install(self.app)
        transport = httpx.ASGITransport(self.app)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://localhost:8000")
        self.stripe.connect(self.deliver)

    async def _profile(self, subject: str) -> Profile | None:
        person = self.people.get(subject)
        return None if person is None else Profile(email=person.email, name=person.name)

    async def deliver(self, body: bytes, headers: dict[str, str]) -> int:
        """A webhook of Stripe's arrives."""
        answer = await self.client.post("/skene/webhooks/stripe", content=body, headers=headers)
        return answer.status_code

    async def call(self, subject: str, **headers: str) -> httpx.Response:
        """The person does what is counted."""
        told = {"x-user": subject, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return await self.client.post("/api/features/work", headers=told)

    async def work(self) -> None:
        """The worker does all that is due."""
        for _ in range(3):
            await self.skene.worker.drain()
            self.clock.advance("61s")

    async def leave(self, person: Person) -> None:
        """The app erases its own row."""
        driver = await asyncpg.connect(self.dsn)
        await driver.execute("DELETE FROM app.users WHERE id = $1", person.subject)
        await driver.close()

    async def live(self, person: Person) -> None:
        """Everything happens to one person."""
        self.people[person.subject] = person
        who, skene, storage = person.subject, self.skene, self.storage
        driver = await asyncpg.connect(self.dsn)
        await driver.execute("INSERT INTO app.users VALUES ($1, $2, $3)", who, person.email, person.name)
        await driver.close()
        await self.work()  # signs up: a firing, a journey, a welcome; and is written to by the schedule
        await skene.emit("project.created", who, {"project": f"{person.name}'s first"})
        await self.call(person.visitor, idempotency_key=f"{who}-key-0")
        await skene.merge(person.visitor, who)
        for number in range(1, 3):
            last = await self.call(who, idempotency_key=f"{who}-key-{number}")
        assert last.status_code == 402
        await skene.consume(who, "tokens", 3)  # from a lease
        await skene.consume("a-team", "calls", member=who)
        await skene.grant(who, "calls", 5, reason=f"for {person.name}", key=f"{who}-grant")
        await skene.override(who, "tokens", 7, reason=f"{person.name} asked")
        await storage.consume(call(charge(5, meter="past"), subject=who))
        await self.work()  # the prompt is sent
        session = (await self.client.get(last.json()["upgrade_url"])).headers["location"].rpartition("/")[2]
        await self.stripe.pay(session, person.email)
        assert (await storage.get_customer(who)).plan == "pro"
        person.customer = self.stripe.customer(who)
        await self.stripe.refund(who)
        await self.call(who)
        await skene.unsubscribe(who)
        self.clock.advance("31d")
        await storage.consume(call(charge(5, meter="past"), subject=who))  # one window ago
        await self.work()
        await skene.emit("project.created", who, {"project": f"{person.name}'s last"})
        # As far as the look for old counters had come when its worker was stopped.
        await storage._write(note_how_far, (who, "calls", "free"))
