"""Decision 31: `…/usage` and `…/portal` answer about whom the app's dependency names, and nobody else."""

from typing import Annotated
from urllib.parse import quote

import httpx
import pytest
from fastapi import Cookie, FastAPI, HTTPException

from skene import Skene
from skene.adapters.memory import MemoryStorage
from skene.adapters.memory_notifier import MemoryNotifier
from skene.fastapi import Gate
from tests.fastapi.conftest import freemium

OTHER = "victim"
SESSIONS = {"s-ada": "ada", "s-empty": "", "s-victim": OTHER}


def signed_in(session: Annotated[str | None, Cookie()] = None) -> str | None:
    return SESSIONS.get(session or "")


def signed_in_or_401(session: Annotated[str | None, Cookie()] = None) -> str:
    subject = SESSIONS.get(session or "")
    if not subject:
        raise HTTPException(401)
    return subject


def member(seat: Annotated[str | None, Cookie()] = None) -> str | None:
    return {"seat-1": "ada", "seat-2": OTHER}.get(seat or "")


def careless(subject: str | None = None) -> str | None:
    """The control: believes what the address says."""
    return subject


def served(subject, member=None):
    notifiers = {"mail": MemoryNotifier()}
    skene = Skene(
        freemium(3, member_limit={"free": 2}), storage=MemoryStorage(), notifiers=notifiers, worker=False
    )
    app = FastAPI()
    Gate(skene, subject=subject, member=member).install(app)

    @app.post("/api/features/work")
    async def work() -> str:
        return "done"

    return skene, app


async def shown(app, skene, spelling, cookies):
    """What somebody is shown, after the other has used one unit as a member of the team, and one alone."""
    await skene.consume(OTHER, skene.program.steps[0].meter)
    await skene.consume("ada", skene.program.steps[0].meter, member=OTHER)
    method, address, headers = spelling
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://app.test", cookies=cookies) as client:
        return await client.request(method, address, headers=headers)


SPELLINGS = [
    ("GET", f"/skene/usage{tail}", headers)
    for tail in (
        "",
        f"?subject={OTHER}",
        f"?x_user={OTHER}&user={OTHER}&member={OTHER}&who={OTHER}&one={OTHER}",
        f"?session={quote('s-victim')}&seat=seat-2",
        f"?members=true&member={OTHER}",
    )
    for headers in (
        {},
        {"x-user": OTHER, "x-member": OTHER, "x-forwarded-user": OTHER, "authorization": OTHER},
    )
]


@pytest.mark.parametrize("spelling", SPELLINGS, ids=lambda one: f"{one[1]} {len(one[2])}")
@pytest.mark.parametrize("subject", [signed_in, signed_in_or_401])
async def test_nobody_is_shown_to_strangers(subject, spelling):
    """Closed by default: without a subject there is no answer."""
    for cookies in ({}, {"session": "s-unknown"}, {"session": "s-empty"}):
        skene, app = served(subject, member)
        answer = await shown(app, skene, spelling, cookies)
        assert answer.status_code == 401, answer.text
        assert OTHER not in answer.text


@pytest.mark.parametrize("spelling", SPELLINGS, ids=lambda one: f"{one[1]} {len(one[2])}")
async def test_one_is_shown_oneself_alone(spelling):
    """And of the team one's own share, or none where no dependency says whose."""
    skene, app = served(signed_in, member)
    answer = await shown(app, skene, spelling, {"session": "s-ada", "seat": "seat-1"})
    rows = answer.json()["usage"]
    assert [(one.get("member"), one["used"]) for one in rows] == [(None, 1), ("ada", 0)]
    skene, app = served(signed_in)
    answer = await shown(app, skene, spelling, {"session": "s-ada", "seat": "seat-2"})
    assert [(one.get("member"), one["used"]) for one in answer.json()["usage"]] == [(None, 1)]
    assert OTHER not in answer.text


async def test_a_dependency_that_believes_the_address_is_noticed():
    skene, app = served(careless)
    answer = await shown(app, skene, SPELLINGS[2], {})
    assert answer.json()["usage"][0]["used"] == 1


@pytest.mark.parametrize("way", ["/usage", "/portal"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_there_is_no_other_way_in(method, way):
    skene, app = served(signed_in)
    answer = await shown(app, skene, (method, f"/skene{way}", {}), {"session": "s-ada"})
    assert answer.status_code == 405
