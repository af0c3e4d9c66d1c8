"""The control: a scheduler that remembers its last tick in memory, and sends when there is a new one."""

import os
import sys
from pathlib import Path

import anyio
import httpx

from tests.support.loops_at_work import FileClock


async def main() -> None:
    clock = FileClock(Path(os.environ["WORK_CLOCK"]))
    headers = {"Authorization": "Bearer re_local0resend"}
    async with httpx.AsyncClient(base_url=os.environ["WORK_RESEND"], headers=headers) as client:
        sys.stdout.write("at work\n")
        sys.stdout.flush()
        last = None
        while True:
            minute = clock.now().replace(second=0, microsecond=0)
            if minute != last:
                mail = {"from": "team@app.test", "to": ["ada@app.test"], "subject": "Tick", "text": "Tick."}
                await client.post("/emails", json=mail)
                last = minute
            await anyio.sleep(0.1)


if __name__ == "__main__":
    anyio.run(main)
