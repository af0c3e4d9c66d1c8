"""Uploads that are charged by the megabyte: what a call costs is a function of the request."""

from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException, Request
from skene_config import skene

from skene.fastapi import Gate

files: dict[tuple[str, str], int] = {}  # stands in for your object storage


async def current_user_id(x_user: Annotated[str | None, Header()] = None) -> str:
    if x_user is None:  # stands in for your own authentication
        raise HTTPException(401)
    return x_user


app = FastAPI(title="Acme files", lifespan=skene.lifespan)
gate = Gate(skene, subject=current_user_id)
gate.install(app)


@app.put("/files/{name}", status_code=201)
async def upload(
    name: str, request: Request, user: Annotated[str, Depends(current_user_id)]
) -> dict[str, int]:
    if name.endswith(".exe"):
        raise HTTPException(415, "No programs.")  # an error is given back, megabyte by megabyte
    size = 0
    async for piece in request.stream():
        size += len(piece)
    files[user, name] = size
    return {"size": size}
