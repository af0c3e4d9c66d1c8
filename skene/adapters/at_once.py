"""Reading several things at the same time."""

from collections.abc import Awaitable, Callable

import anyio

__all__ = ["at_once"]


async def at_once(*reads: Callable[[], Awaitable[None]]) -> None:
    """Do some reading at the same time. The first that fails ends all, and its error comes as it is.

    A task group would wrap it, and nobody outside knows of the group.

    Raises:
        Exception: whatever the first of them raised.
    """
    errors: list[Exception] = []

    async def attempt(read: Callable[[], Awaitable[None]]) -> None:
        try:
            await read()
        except Exception as error:  # noqa: BLE001 - raised below, where no group wraps it
            errors.append(error)
            group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        for read in reads:
            group.start_soon(attempt, read)
    if errors:
        raise errors[0]
