"""The control, as people write it: it looks for users without a mail, sends one, and then notes it."""

import os
import sys
from itertools import count

import anyio
import asyncpg
import httpx

KEYS = (f"{os.getpid()}-{number}" for number in count(1))
"""A new one for each attempt."""


async def main() -> None:
    driver = await asyncpg.connect(os.environ["WORK_DATABASE"])
    async with httpx.AsyncClient(base_url=os.environ["WORK_RESEND"]) as client:
        sys.stdout.write("at work\n")
        sys.stdout.flush()
        while True:
            async with driver.transaction():
                row = await driver.fetchrow(
                    "SELECT u.id, u.email FROM users AS u JOIN user_actions AS a ON a.user_id = u.id"
                    " WHERE NOT u.mailed AND a.action_type = 'first_project_created'"
                    " ORDER BY u.id LIMIT 1 FOR UPDATE OF u SKIP LOCKED"
                )
                if row is None:
                    await anyio.sleep(0.1)
                elif await sent(client, row["email"]):
                    await driver.execute("UPDATE users SET mailed = true WHERE id = $1", row["id"])


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
