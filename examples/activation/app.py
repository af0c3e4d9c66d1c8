from typing import Annotated

import store
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel
from skene_config import skene

from skene.fastapi import Gate


async def current_user_id(
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))],
) -> int:
    """Stands in for your own authentication: whoever knows a user's number is that user."""
    if credentials is None or not credentials.credentials.isdecimal():
        raise HTTPException(401, "Send the number that you got from POST /users: Authorization: Bearer 1")
    return int(credentials.credentials)


gate = Gate(skene, subject=current_user_id)
app = FastAPI(title="Acme", lifespan=skene.lifespan)
gate.install(app)  # no route has a limit here; this mounts /skene/unsubscribe and its like


class NewUser(BaseModel):
    email: str
    name: str


class NewProject(BaseModel):
    name: str


@app.post("/users", status_code=201)
async def sign_up(body: NewUser) -> dict[str, int]:
    # Nothing to tell skene: the trigger on the table sees the row, whoever inserts it.
    return {"id": await store.add_user(body.email, body.name)}


@app.post("/projects", status_code=201)
async def create_project(body: NewProject, user: Annotated[int, Depends(current_user_id)]) -> dict[str, int]:
    count = await store.add_project(user, body.name)
    if count == 2:
        await skene.emit("second_project", str(user))  # the goal of a loop
    return {"projects": count}
