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
gate.install(app)  # mounts /skene/unsubscribe, and /skene/webhooks/resend for bounces and complaints


class NewUser(BaseModel):
    email: str
    name: str


@app.post("/users", status_code=201)
async def sign_up(body: NewUser) -> dict[str, int]:
    return {"id": await store.add_user(body.email, body.name)}


@app.get("/home")
async def home(user: Annotated[int, Depends(current_user_id)]) -> dict[str, str]:
    await store.seen(user)
    await skene.emit("came_back", str(user))
    return {"hello": str(user)}
