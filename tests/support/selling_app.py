"""A gated app that sells through Stripe, for tests that need real processes; told all by the environment."""

import os
import resource
from datetime import timedelta
from typing import Annotated

from fastapi import FastAPI, Header

from skene import UNLIMITED, Skene, action, condition, define_loop, step, trigger
from skene.adapters.stripe import StripeBilling
from skene.fastapi import Gate
from skene.wiring import storage_from
from tests.support.stripe_account import API_KEY, PLANS, WEBHOOK_SECRET


def current_user(x_user: Annotated[str | None, Header()] = None) -> str | None:
    return x_user


freemium = define_loop(
    type="freemium",
    steps=[
        step(
            trigger=trigger.api("/api/features/*", method="POST"),
            condition=condition.usage(limit={"free": 1, "starter": 5, "pro": UNLIMITED}, period="30d"),
            action=action.block("Limit."),
        )
    ],
)
skene = Skene(
    freemium,
    storage=storage_from(os.environ["APP_DATABASE"]),
    billing=StripeBilling(
        API_KEY,
        WEBHOOK_SECRET,
        PLANS,
        base_url=os.environ["APP_STRIPE"],
        timeout=timedelta(seconds=float(os.environ.get("APP_STRIPE_TIMEOUT", "5"))),
    ),
    secret="a secret for links",
)
gate = Gate(skene, subject=current_user)
app = FastAPI(lifespan=skene.lifespan)
gate.install(app)


@app.post("/api/features/work")
async def work() -> dict[str, int]:
    return {"pid": os.getpid()}


@app.get("/peak")
async def peak() -> int:
    """The most memory this process ever held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
