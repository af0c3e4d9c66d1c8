"""The control, as people write it: it looks for users without a mail, sends one, and then notes it.

Where `WORK_CLAIMS_FIRST` is set it notes the mail first, so that nobody else sends it, and then sends it.
"""

import os
import sys
from itertools import count
from typing import TYPE_CHECKING

import anyio
import asyncpg
import httpx

from tests.support.dying import die_at

if TYPE_CHECKING:
    Driver = asyncpg.Connection[asyncpg.Record]

KEYS = (f"{os.getpid()}-{number}" for number in count(1))
"""A new one for each attempt."""


async def main() -> None:
    driver = await asyncpg.connect(os.environ["WORK_DATABASE"])
    async with httpx.AsyncClient(base_url=os.environ["WORK_RESEND"]) as client:
        sys.stdout.write("at work\n")
        sys.stdout.flush()
        step = claim_and_send if os.environ.get("WORK_CLAIMS_FIRST") else send_and_note
        while True:
            if not await step(driver, client):
                await anyio.sleep(0.1)


async def send_and_note(driver: "Driver", client: httpx.AsyncClient) -> bool:
    async with driver.transaction():
        row = await driver.fetchrow(
            "SELECT u.id, u.email FROM users AS u JOIN user_actions AS a ON a.user_id = u.id"
            " WHERE NOT u.mailed AND a.action_type = 'first_project_created'"
            " ORDER BY u.id LIMIT 1 FOR UPDATE OF u SKIP LOCKED"
        )
        if row is None:
            return False
        if await sent(client, row["email"]):
            await driver.execute("UPDATE users SET mailed = true WHERE id = $1", row["id"])
    return True


async def claim_and_send(driver: "Driver", client: httpx.AsyncClient) -> bool:
    email = await driver.fetchval(
        "UPDATE users SET mailed = true WHERE id = (SELECT id FROM users WHERE NOT mailed"
        " ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING email"
    )
    if email is None:
        return False
    die_at("claim", email.partition("@")[0])
    if await sent(client, email):
        die_at("sent", email.partition("@")[0])
    else:
        await driver.execute("UPDATE users SET mailed = false WHERE email = $1", email)
    return True


async def sent(client: httpx.AsyncClient, address: str) -> bool:
    mail = {"from": "team@app.test", "to": [address], "subject": "Welcome", "text": "Welcome."}
    headers = {"Authorization": "Bearer re_local0resend", "Idempotency-Key": next(KEYS)}
    try:
        answer = await client.post("/emails", json=mail, headers=headers)
    except httpx.HTTPError:
        return False
    return answer.is_success


if __name__ == "__main__":
    anyio.run(main)
