from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx
import pytest
from fastapi import FastAPI, Header

from skene import UNLIMITED, Loop, Profile, Skene, action, condition, define_loop, step, trigger
from skene.adapters.memory import MemoryStorage
from skene.adapters.memory_notifier import MemoryNotifier
from skene.fastapi import Gate
from skene.testing.clock import ManualClock

PATTERN = "/api/features/*"


def freemium(
    limit: int = 3,
    *,
    name: str | None = None,
    pattern: str | None = PATTERN,
    paid: Any = UNLIMITED,
    **usage: Any,
) -> Loop:
    """A freemium loop as the seed has it, smaller."""
    block = usage.pop("block", {})
    method = usage.pop("method", "POST")
    optional = usage.pop("optional", False)
    return define_loop(
        type="freemium",
        name=name,
        enforce=usage.pop("enforce", True),
        steps=[
            step(
                trigger=trigger.api(pattern, method=method, optional=optional) if pattern else None,
                condition=condition.usage(limit={"free": limit, "paid": paid}, period="30d", **usage),
                action=action.block(
                    "Limit reached.", upgrade_prompt=action.email("upgrade_prompt", provider="mail"), **block
                ),
            )
        ],
    )


async def profile(subject: str) -> Profile:
    return Profile(email=f"{subject}@app.test", name=subject.title())


def header_user(x_user: Annotated[str | None, Header()] = None) -> str | None:
    return x_user


class House:
    """An app with a gate, and a client for it."""

    def __init__(self, *loops: Loop, **options: Any) -> None:
        self.clock = ManualClock()
        self.storage = options.pop("storage", None) or MemoryStorage(clock=self.clock)
        self.mail = MemoryNotifier()
        gate_options = {k: options.pop(k) for k in ("idempotency_header",) if k in options}
        options.setdefault("profile", profile)
        self.skene = Skene(
            *loops,
            storage=self.storage,
            notifiers={"mail": self.mail},
            clock=self.clock,
            worker=False,
            **options,
        )
        self.gate = Gate(self.skene, subject=header_user, **gate_options)
        self.app = FastAPI(lifespan=self.skene.lifespan)
        self.calls: list[str] = []

    def client(self, *, root_path: str = "") -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False, root_path=root_path)
        return httpx.AsyncClient(transport=transport, base_url="http://app.test", headers={"x-user": "ada"})

    async def used(self, subject: str = "ada", index: int = 0) -> int:
        return (await self.skene.usage(subject))[index].used

    @asynccontextmanager
    async def running(self, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
        """The app with its lifespan, as a server would run it."""
        async with self.app.router.lifespan_context(self.app), self.client(**options) as client:
            yield client


@pytest.fixture
def house() -> Callable[..., House]:
    """Makes a house: `house(freemium(3))`, the gate installed on its app."""

    def make(*loops: Loop, install: bool = True, **options: Any) -> House:
        made = House(*(loops or (freemium(),)), **options)
        if install:
            made.gate.install(made.app)
        return made

    return make
