"""What both apps have: who calls, and work that tells how often it was done.

`APP_DATABASE` names the database, `APP_LIMIT` the limit, `APP_POOL` how many connections there are,
`APP_WORK` for how many seconds the endpoint works, `APP_FOLDER` where mails are written.
"""

import os
from collections.abc import Sequence
from typing import Annotated, Any

import anyio
from fastapi import FastAPI, Header

__all__ = ["DATABASE", "FOLDER", "LIMIT", "PATH", "POOL", "current_user", "give_endpoint"]

PATH = "/api/features/work"
DATABASE = os.environ["APP_DATABASE"]
LIMIT = int(os.environ.get("APP_LIMIT", "100"))
POOL = int(os.environ.get("APP_POOL", "5"))
FOLDER = os.environ.get("APP_FOLDER", "outbox")
WORK = float(os.environ.get("APP_WORK", "0"))

runs = 0


def current_user(x_user: Annotated[str, Header()]) -> str:
    return x_user


def give_endpoint(app: FastAPI, dependencies: Sequence[Any] = ()) -> None:
    """The work, and `/runs`: how often this process has done it."""

    @app.post(PATH, dependencies=list(dependencies))
    async def work() -> dict[str, bool]:
        global runs  # noqa: PLW0603 - of this process
        runs += 1
        if WORK:
            await anyio.sleep(WORK)
        return {"done": True}

    @app.get("/runs")
    async def told() -> dict[str, int]:
        return {"runs": runs}
