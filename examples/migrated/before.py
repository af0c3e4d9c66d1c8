"""The hand-written gate: it reads, compares, works, and then writes."""

from typing import Annotated

import store
from fastapi import Depends, FastAPI, Header, HTTPException

FREE = 3
app = FastAPI(title="Acme")


async def current_user_id(x_user: Annotated[str | None, Header()] = None) -> str:
    if x_user is None:
        raise HTTPException(401)
    return x_user


@app.post("/export")
async def export(user: Annotated[str, Depends(current_user_id)], fail: bool = False) -> dict[str, str]:
    month = store.month()
    used = await store.read(user, month)
    if user not in store.paying and used >= FREE:
        raise HTTPException(402, "Your free exports of this month are used up.")
    if fail:
        raise HTTPException(500)
    await store.write(user, month, used + 1)
    return {"file": "export.csv"}
