from datetime import timedelta
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from people import USERS
from pydantic import BaseModel
from skene_config import skene

from skene.fastapi import Gate

TRIAL = timedelta(days=14)


async def current_user_id(
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))],
) -> str:
    """Stands in for your own authentication: whoever knows a user's name is that user."""
    if credentials is None or credentials.credentials not in USERS:
        raise HTTPException(401, "Sign up with POST /users, and send the name: Authorization: Bearer ada")
    return credentials.credentials


gate = Gate(skene, subject=current_user_id)
app = FastAPI(title="Acme", lifespan=skene.lifespan)
gate.install(app)


class NewUser(BaseModel):
    name: str
    email: str


@app.post("/users", status_code=201)
async def sign_up(body: NewUser) -> dict[str, str]:
    if body.name in USERS:
        raise HTTPException(409, "This name is taken.")
    USERS[body.name] = body.email
    ends_at = skene.clock.now() + TRIAL
    await skene.set_plan(body.name, "trial", until=ends_at, paying=False)  # a trial is no conversion
    await skene.emit("signed_up", body.name, {"ends_at": ends_at.isoformat()}, idempotency_key="sign-up")
    return {"trial_until": ends_at.isoformat()}


@app.post("/reports", status_code=201)  # gated: three a month on the free plan
async def make_report() -> dict[str, str]:
    return {"report": "All is well."}
