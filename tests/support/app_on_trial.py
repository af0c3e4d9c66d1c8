"""A gated app for proofs that kill its processes, move its clock or end its windows.

`APP_DATABASE` and `APP_RESEND` are addresses. The others may be left out: `APP_LIMIT`; `APP_SECONDS` of a
window; `APP_PER_SECOND`, the pace of mails; `APP_LEASE`, seconds after which a dead worker's messages are
free, in place of 30; `APP_DEATHS`, see `dying`; `APP_OFF`, seconds by which the application's clock is wrong;
`APP_CLOCK`, a file that tells the storage's time; `APP_CARELESS`, the control, see `careless_apps`.
"""

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import anyio
from fastapi import Body, FastAPI, Header, HTTPException

import skene.runtime.worker as at_work
from skene import UNLIMITED, Profile, Recovery, Skene, action, condition, define_loop, step, trigger
from skene.adapters.postgres import PostgresStorage
from skene.adapters.resend import ResendNotifier
from skene.fastapi import Gate
from tests.support.careless_apps import CARELESS, WrongClock
from tests.support.dying import MortalNotifier, MortalStorage
from tests.support.loops_at_work import FileClock

ENV = os.environ


async def profile(subject: str) -> Profile:
    return Profile(email=f"{subject}@app.test")


def current_user(x_user: Annotated[str | None, Header()] = None) -> str | None:
    return x_user


def make(env: Mapping[str, str]) -> Skene:
    """All of it, as the environment says."""
    prompt = action.email("upgrade_prompt", provider="resend")
    loop = define_loop(
        type="freemium",
        steps=[
            step(
                trigger=trigger.api("/api/features/*", method="POST"),
                condition=condition.usage(
                    limit={"free": int(env.get("APP_LIMIT", "1")), "paid": UNLIMITED},
                    period=f"{env.get('APP_SECONDS', '2592000')}s",
                    meter="work",
                ),
                action=action.block("Limit.", upgrade_prompt=prompt),
            )
        ],
        recovery=Recovery(retries=20, cap="1s"),
    )
    clock = FileClock(Path(env["APP_CLOCK"])) if "APP_CLOCK" in env else None
    storage: Any = PostgresStorage(env["APP_DATABASE"], clock=clock)
    if "APP_CARELESS" in env:
        storage = CARELESS[env["APP_CARELESS"]](storage, env["APP_DATABASE"])
    resend = ResendNotifier(
        "re_local0resend",
        "App <team@app.test>",
        base_url=env["APP_RESEND"],
        per_second=float(env.get("APP_PER_SECOND", "1000")),
    )
    mortal: Any = MortalNotifier(resend)
    dies: Any = MortalStorage(storage)
    return Skene(
        loop,
        storage=dies,
        notifiers={"resend": mortal},
        profile=profile,
        clock=WrongClock(),
    )


setattr(at_work, "LEASE", timedelta(seconds=float(ENV.get("APP_LEASE", "30"))))  # noqa: B010 - it is not exported
app = FastAPI()
if "APP_DATABASE" in ENV:
    skene = make(ENV)
    app.router.lifespan_context = skene.lifespan
    Gate(skene, subject=current_user).install(app)


@app.post("/api/features/work")
async def work(
    number: Annotated[int, Body(embed=True)] = 0,
    x_while: Annotated[str | None, Header()] = None,
    x_fail: Annotated[int, Header()] = 0,
) -> dict[str, int]:
    """Wait until a file is gone, if one is named; then raise, answer with a status, or succeed."""
    if x_while is not None:
        Path(x_while).touch()  # so the client sees that it is here
    while x_while is not None and Path(x_while).exists():
        await anyio.sleep(0.02)
    if x_fail == 1:
        raise RuntimeError("broken on purpose")
    if x_fail:
        raise HTTPException(x_fail)
    return {"number": number}
