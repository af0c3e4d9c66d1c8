"""Erasing a person from what is counted."""

import json

from skene.adapters.valkey import wire
from skene.adapters.valkey.kept import Kept
from skene.adapters.valkey.scripts import FORGET

__all__ = ["forget"]

_PAGE = 1000


async def forget(kept: Kept, subject: str) -> int:
    """Erase what is counted of a person, of whoever was merged into it, and of it as a member of teams.

    Returns:
        How many counters, windows that are over, and idempotency keys there were.
    """
    erased, aliases, into = await kept.run(FORGET, subject, subject)
    names = [subject, *(alias.decode() if isinstance(alias, bytes) else alias for alias in aliases)]
    for alias in names[1:]:
        more, *_ = await kept.run(FORGET, alias, alias)
        erased += more
    if into:
        await kept.swap(into, wire.change(gone=[f"a:{subject}"], there=True))
    for name in names:
        teams = [entry.split("\0")[1] async for entry in kept.of_all("in", f"{name}\0", _PAGE)]
        for team in teams:
            erased += await _forget_member(kept, team, name)
    return int(erased)


async def _forget_member(kept: Kept, team: str, member: str) -> int:
    """Erase what a team has counted, and was granted, under a member's name."""
    names = await kept.names(team)
    counted = [
        name
        for name in names
        if name.startswith(("c:", "p:", "r:")) and wire.member_of(wire.split(name)[0]) == member
    ]
    pots = [name for name in names if name.startswith("s:")]
    granted = [
        name
        for name, pot in zip(pots, await kept.fields(team, pots), strict=True)
        if pot and wire.member_of(json.loads(pot)[0]) == member
    ]
    due = [
        entry
        for meter, plan in {tuple(wire.split(name)[:2]) for name in counted}
        async for entry in kept.of_all("due", f"{meter}\0{plan}\0{team}\0", _PAGE)
    ]
    await kept.swap(
        team,
        wire.change(
            gone=[*counted, *granted], settled=due, parted=[f"{member}\0{team}"], changed=True, there=True
        ),
    )
    return sum(not name.startswith("r:") for name in counted)
