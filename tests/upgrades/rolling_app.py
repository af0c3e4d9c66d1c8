"""A gated app that sells and writes mails, of whichever release is on the path; told all by the environment.

It says only what the releases of every version in `test_previous_code` understand.
"""

import os
from typing import Annotated

from fastapi import FastAPI, Header, HTTPException

import skene
from skene import UNLIMITED, Profile, Skene, action, condition, define_loop, step, trigger
from skene.adapters.postgres import PostgresStorage
from skene.adapters.resend import ResendNotifier
from skene.adapters.stripe import StripeBilling
from skene.fastapi import Gate

LIMIT = int(os.environ["APP_LIMIT"])


async def profile(subject: str) -> Profile:
    return Profile(email=f"{subject}@app.test")


def current_user(x_user: Annotated[str | None, Header()] = None) -> str | None:
    return x_user


freemium = define_loop(
    type="freemium",
    steps=[
        step(
            trigger=trigger.api("/api/features/*", method="POST"),
            condition=condition.usage(limit={"free": LIMIT, "pro": UNLIMITED}, period="30d"),
            action=action.block("Limit.", upgrade_prompt=action.email("upgrade_prompt", provider="resend")),
        )
    ],
)
app_skene = Skene(
    freemium,
    storage=PostgresStorage(os.environ["APP_DATABASE"]),
    billing=StripeBilling(
        os.environ["APP_STRIPE_KEY"],
        os.environ["APP_STRIPE_WEBHOOK_SECRET"],
        {"price_pro": "pro"},
        base_url=os.environ["APP_STRIPE"],
    ),
    notifiers={
        "resend": ResendNotifier("re_local0resend", "App <team@app.test>", base_url=os.environ["APP_RESEND"])
    },
    profile=profile,
)
gate = Gate(app_skene, subject=current_user)
app = FastAPI(lifespan=app_skene.lifespan)
gate.install(app)


@app.post("/api/features/work")
async def work(fail: int = 0) -> str:
    if fail:
        raise HTTPException(fail)
    return "done"


@app.get("/code")
async def code() -> str:
    """Which release this is."""
    return str(skene.__file__)
