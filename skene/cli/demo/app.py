"""The app that the demo drives: the configuration and the routes of the README, on local stand-ins."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel

from skene import UNLIMITED, Decision, Profile, Recovery, Skene, action, condition, define_loop, step, trigger
from skene.adapters.resend import ResendNotifier
from skene.adapters.stripe import StripeBilling
from skene.fastapi import Gate
from skene.ports.storage import Storage

__all__ = ["PRICES", "Person", "Services", "freemium", "make_app", "make_skene"]

PRICES = {"price_123": "paid"}

freemium = define_loop(
    type="freemium",
    opinion="Enforce usage limits for free tier users and trigger upgrade prompts",
    steps=[
        step(
            trigger=trigger.api("/api/features/*", method="POST"),
            condition=condition.usage(limit={"free": 100, "paid": UNLIMITED}, period="30d"),
            action=action.block(
                "You've reached your free tier limit. Upgrade to continue.",
                upgrade_prompt=action.email("upgrade_prompt", provider="resend"),
            ),
        ),
    ],
    recovery=Recovery(retries=0),  # No retries for blocking actions
)


@dataclass(frozen=True, slots=True)
class Person:
    """A user of the app."""

    subject: str
    key: str
    name: str
    email: str


@dataclass(frozen=True, slots=True)
class Services:
    """Where the stand-ins are, and the keys they take.

    Attributes:
        public_url: where the app itself is reached.
        templates: a folder that does not exist, so that the packaged templates are used, whatever lies about.
    """

    public_url: str
    stripe_url: str
    stripe_key: str
    webhook_secret: str
    resend_url: str
    resend_key: str
    templates: Path


class Text(BaseModel):
    """What the app works on."""

    text: str


def make_skene(storage: Storage, services: Services, people: Mapping[str, Person]) -> Skene:
    """The configuration. `people` is by subject; it stands for the app's own table of users."""

    async def load_profile(subject: str) -> Profile | None:
        person = people.get(subject)
        return Profile(email=person.email, name=person.name) if person else None

    return Skene(
        freemium,
        storage=storage,
        billing=StripeBilling(
            api_key=services.stripe_key,
            webhook_secret=services.webhook_secret,
            plans=PRICES,
            base_url=services.stripe_url,
        ),
        notifiers={
            "resend": ResendNotifier(
                api_key=services.resend_key,
                sender="Acme <team@acme.test>",
                base_url=services.resend_url,
                templates=str(services.templates),
            )
        },
        profile=load_profile,
        public_url=services.public_url,
    )


def make_app(skene: Skene, people: Mapping[str, Person]) -> FastAPI:
    """The app."""
    by_key = {person.key: person for person in people.values()}

    def current_user_id(given: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]) -> str:
        person = by_key.get(given.credentials)
        if person is None:
            raise HTTPException(401, "This API key is not known.")
        return person.subject

    gate = Gate(skene, subject=current_user_id)
    app = FastAPI(title="Acme", lifespan=skene.lifespan)
    gate.install(app)

    @app.post("/api/features/summarise")  # gated because the trigger's pattern covers it
    async def summarise(body: Text) -> dict[str, str]:  # pyright: ignore[reportUnusedFunction] - the decorator uses it
        return {"summary": body.text.split(".")[0]}

    @app.post("/translate")
    @gate.enforce("freemium")  # gated by hand
    async def translate(body: Text) -> dict[str, str]:  # pyright: ignore[reportUnusedFunction] - as above
        return {"translation": body.text.upper()}

    @app.post("/api/features/ask")
    async def ask(  # pyright: ignore[reportUnusedFunction] - as above
        body: Text, decision: Annotated[Decision, Depends(gate)]
    ) -> dict[str, str | int | None]:
        return {"answer": f"You asked: {body.text}", "left": decision.remaining}  # None: unlimited

    return app
