"""What all apps have in common: the endpoint, and how they know who calls."""

import os
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, Request

__all__ = ["LIMIT", "PATH", "Counted", "User", "current_user", "endpoint", "user_of"]

LIMIT = int(os.environ.get("BENCH_LIMIT", "1000000000"))
PATH = "/api/features/work"
Counted = Callable[[], Awaitable[int]]


async def current_user(x_user: Annotated[str, Header()]) -> str:
    return x_user


User = Annotated[str, Depends(current_user)]


def user_of(request: Request) -> str:
    """The same, for those who look at the request themselves."""
    return request.headers["x-user"]


def endpoint(made: FastAPI, counted: Counted | None, *dependencies: Any) -> FastAPI:
    """Give an app the endpoint, behind its gate if that is a dependency, and `/counted`."""

    @made.post(PATH, dependencies=list(dependencies))
    async def work(user: User) -> dict[str, bool]:
        return {"done": bool(user)}

    if counted is not None:
        made.add_api_route("/counted", counted)
    return made
