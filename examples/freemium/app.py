from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel
from skene_config import skene

from skene import Decision
from skene.fastapi import Gate

# Stands in for your own authentication: whoever knows a user's token is that user. Nothing here is secret.
TOKENS = {"token-of-ada": "ada", "token-of-bob": "bob"}


async def current_user_id(
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))],
) -> str:
    user = TOKENS.get(credentials.credentials) if credentials else None
    if user is None:
        raise HTTPException(401, "Send one of the tokens in app.py: Authorization: Bearer token-of-ada")
    return user


gate = Gate(skene, subject=current_user_id)
app = FastAPI(title="Acme", lifespan=skene.lifespan)
gate.install(app)


class Text(BaseModel):
    text: str


@app.post("/api/features/summarise")  # gated because the trigger's pattern covers it
async def summarise(body: Text) -> dict[str, str]:
    return {"summary": body.text.split(".")[0]}


@app.post("/translate")
@gate.enforce("freemium")  # gated by hand
async def translate(body: Text) -> dict[str, str]:
    if not body.text.isascii():
        raise HTTPException(501, "Only ASCII can be translated so far.")  # an error is given back
    return {"translation": body.text.upper()}


@app.post("/api/features/ask")
async def ask(body: Text, decision: Annotated[Decision, Depends(gate)]) -> dict[str, str | int | None]:
    return {"answer": f"You asked: {body.text}", "left": decision.remaining}  # None: unlimited
