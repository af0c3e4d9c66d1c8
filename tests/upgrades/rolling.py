"""Processes of one release or another, and what their customers do."""

import os
import subprocess
import sys
from contextlib import contextmanager

import anyio
import httpx

from tests.support.processes import uvicorn_processes

__all__ = ["LIMIT", "call", "mailed", "plan", "served", "upgrade", "upgrading"]

APP = "tests.upgrades.rolling_app:app"
LIMIT = 100


def code_of(folder):
    # Or the folder that the tests are run from, with the new code in it, would come first.
    return {"PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1"}


@contextmanager
def served(folder, environment):
    """A process of one release; yields its address, when it is sure which release it is."""
    with uvicorn_processes(APP, 1, {**environment, **code_of(folder)}, ["--app-dir", str(folder)]) as (
        address,
    ):
        assert httpx.get(f"{address}/code").json() == str(folder / "skene" / "__init__.py")
        yield address


def upgrading(folder, dsn):
    """`skene db upgrade` of one release, begun."""
    command = [sys.executable, "-c", "from skene.cli import main; main()", "db", "upgrade", "--database", dsn]
    env = {**os.environ, **code_of(folder)}
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def upgrade(folder, dsn):
    """`skene db upgrade` of one release."""
    process = upgrading(folder, dsn)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    return said


async def call(address, subject, fail=0):
    async with httpx.AsyncClient(timeout=30) as client:
        headers = {"x-user": subject}
        return await client.post(f"{address}/api/features/work?fail={fail}", headers=headers)


async def plan(address, subject):
    async with httpx.AsyncClient(timeout=30) as client:
        answer = await client.get(f"{address}/skene/usage", headers={"x-user": subject})
    (only,) = answer.json()["usage"]
    return only["plan"]


async def mailed(resend, count):
    with anyio.fail_after(60):
        while len(resend.emails) < count:
            await anyio.sleep(0.05)
