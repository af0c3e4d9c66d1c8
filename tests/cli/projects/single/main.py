from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel

app = FastAPI(title="Notes")
TOKENS = {"token-of-ada": "ada", "token-of-bob": "bob"}


class Text(BaseModel):
    text: str
    language: str = "en"


def current_user_id(
    credentials: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())],
) -> str:
    user = TOKENS.get(credentials.credentials)
    if user is None:
        raise HTTPException(401, "unknown token")
    return user


User = Annotated[str, Depends(current_user_id)]


@app.get("/health")
def health() -> str:
    return "ok"


@app.post("/login")
def login(name: str) -> str:
    return f"token-of-{name}"


@app.post("/api/summaries")
def summarise(body: Text, user: User) -> dict[str, str]:
    return {"summary": body.text[:20], "by": user}


@app.post("/api/translations/{language}")
def translate(language: str, body: Text, user: User) -> dict[str, str]:
    return {"translation": body.text.upper(), "language": language, "by": user}
