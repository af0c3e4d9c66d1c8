"""The same app without its gate. The endpoint keeps its own work; `import_usage` takes over the counts."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import FastAPI, Header, HTTPException
from skene_config import skene

from skene.fastapi import Gate

app = FastAPI(title="Acme", lifespan=skene.lifespan)


async def current_user_id(x_user: Annotated[str | None, Header()] = None) -> str:
    if x_user is None:
        raise HTTPException(401)
    return x_user


Gate(skene, subject=current_user_id).install(app)


@app.post("/export")
async def export(fail: bool = False) -> dict[str, str]:
    if fail:
        raise HTTPException(500)
    return {"file": "export.csv"}


async def import_usage(used: Mapping[str, int]) -> None:
    """Charge what was used this month before the change, once: run again, the same key charges nothing."""
    for user, units in used.items():
        for number in range(units):
            await skene.consume(user, "exports", idempotency_key=f"import:{number}")
