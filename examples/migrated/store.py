"""What the app had before: who pays, and the clock that the hand-written gate asked."""

from datetime import UTC, datetime

from anyio.lowlevel import checkpoint

paying: set[str] = set()
usage: dict[tuple[str, str], int] = {}


def month() -> str:
    return f"{datetime.now(UTC):%Y-%m}"  # noqa: TID251 - the app has its own clock


async def read(user: str, month: str) -> int:
    await checkpoint()  # a round trip to the database
    return usage.get((user, month), 0)


async def write(user: str, month: str, used: int) -> None:
    await checkpoint()
    usage[user, month] = used
