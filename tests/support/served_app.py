"""A gated app for tests that need real server processes; told everything by the environment."""

import os
from dataclasses import replace
from typing import Annotated, Any

from fastapi import FastAPI, Header, HTTPException

from skene import UNLIMITED, Profile, Skene, action, condition, define_loop, step, trigger
from skene.adapters.resend import ResendNotifier
from skene.fastapi import Gate
from skene.ports.counters import Consume, Counted
from skene.wiring import storage_from

LIMIT = int(os.environ.get("APP_LIMIT", "100"))


class CheckThenCount:
    """The control: looks first and counts afterwards, as hand-written gates do."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def consume(self, call: Consume) -> Counted:
        seen: Counted = await self._inner.peek(call)
        if not seen.admitted:
            return seen
        charges = tuple(replace(c, limits=dict.fromkeys(c.limits)) for c in call.charges)
        counted: Counted = await self._inner.consume(replace(call, charges=charges))
        return counted


async def profile(subject: str) -> Profile:
    return Profile(email=f"{subject}@app.test")


def current_user(x_user: Annotated[str | None, Header()] = None) -> str | None:
    return x_user


freemium = define_loop(
    type="freemium",
    steps=[
        step(
            trigger=trigger.api("/api/features/*", method="POST"),
            condition=condition.usage(limit={"free": LIMIT, "paid": UNLIMITED}, period="30d"),
            action=action.block("Limit.", upgrade_prompt=action.email("upgrade_prompt", provider="resend")),
        )
    ],
)
real = storage_from(os.environ["APP_DATABASE"])
storage: Any = CheckThenCount(real) if os.environ.get("APP_NAIVE") else real
skene = Skene(
    freemium,
    storage=storage,
    notifiers={
        "resend": ResendNotifier("re_local0resend", "App <team@app.test>", base_url=os.environ["APP_RESEND"])
    },
    profile=profile,
)
gate = Gate(skene, subject=current_user)
app = FastAPI(lifespan=skene.lifespan)
gate.install(app)


@app.post("/api/features/work")
async def work(fail: int = 0) -> dict[str, int]:
    if fail == 1:
        raise RuntimeError("broken on purpose")
    if fail:
        raise HTTPException(fail)
    return {"pid": os.getpid()}
