"""An API with keys: the subject is the account that a key belongs to, so all of its keys share one count."""

from hashlib import sha256
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import APIKeyHeader
from skene_config import skene

from skene.fastapi import Gate


def digest(key: str) -> str:
    return sha256(key.encode()).hexdigest()


# Stands in for a table of keys: only their hashes are kept, and whose they are.
accounts = {digest("key-1-of-acme"): "acme", digest("key-2-of-acme"): "acme", digest("key-of-bolt"): "bolt"}


async def current_account(
    key: Annotated[str | None, Depends(APIKeyHeader(name="X-API-Key", auto_error=False))],
) -> str:
    account = accounts.get(digest(key or ""))
    if account is None:
        raise HTTPException(401, "No such key.", {"WWW-Authenticate": "ApiKey"})
    return account


app = FastAPI(title="Acme API", lifespan=skene.lifespan)
gate = Gate(skene, subject=current_account)
gate.install(app)


@app.get("/v1/words/{word}")
async def define(word: str) -> dict[str, str]:
    if not word.isalpha():
        raise HTTPException(404, "No such word.")
    return {"word": word, "meaning": f"what people mean by {word}"}
