"""Seats of a team: a stock and no flow. Who joins takes one, who leaves gives it back, and no month does.

The members are in the app's own table. `recount` makes the gauge what that table says; call it at night, and
after a restore.
"""

from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException, Request
from fastapi.responses import Response
from skene_config import skene

from skene import QuotaExceeded
from skene.asgi import refusal
from skene.fastapi import Gate

members: dict[str, set[str]] = {}  # stands in for a table with a unique key of team and person


async def current_team(x_team: Annotated[str | None, Header()] = None) -> str:
    if x_team is None:  # stands in for your own authentication
        raise HTTPException(401)
    return x_team


Team = Annotated[str, Depends(current_team)]
app = FastAPI(title="Acme teams", lifespan=skene.lifespan)
Gate(skene, subject=current_team).install(app)  # webhooks, upgrade links, usage


@app.exception_handler(QuotaExceeded)
async def answer_refusal(request: Request, error: QuotaExceeded) -> Response:
    return refusal(error.decision)


@app.post("/members/{person}", status_code=201)
async def join(person: str, team: Team) -> dict[str, int | None]:
    async with skene.reserve(team, "seats", 1) as hold:  # given back if the row cannot be written
        here = members.setdefault(team, set())
        if person in here:
            raise HTTPException(409, f"{person} is a member already.")
        here.add(person)
    return {"seats_left": hold.decision.remaining}


@app.delete("/members/{person}", status_code=204)
async def leave(person: str, team: Team) -> None:
    here = members.get(team, set())
    if person not in here:
        raise HTTPException(404)
    here.remove(person)  # first: who is gone gives the seat back once, whoever else asks at this moment
    await skene.release(team, "seats")


async def recount_all() -> None:
    for team, here in members.items():
        await skene.recount(team, "seats", len(here))
