"""Moving what is counted of a subject to the one it was merged into.

The two may lie on two servers, so no step sees both. First word is left under the old name, by the step that
packs its counters into a parcel; from then on nothing is counted there. The parcel is delivered once, known
by its number, and thrown away afterwards. If somebody is stopped in between, another call goes on.
"""

import json
from collections.abc import Mapping
from typing import Any

from skene.adapters.valkey import wire
from skene.adapters.valkey.billing import Reports
from skene.adapters.valkey.kept import Kept
from skene.adapters.valkey.mirror import whoever
from skene.adapters.valkey.scripts import TAKE
from skene.engine.merging import Meter, other_key, unite
from skene.errors import StorageUnavailable
from skene.ports.storage import Storage

__all__ = ["Moving"]

_TRIES = 50
_PATIENCE = 10_000_000
"""For so many microseconds a merge that was announced may still come about."""


class Moving:
    """What a merge does to counters."""

    def __init__(self, kept: Kept, storage: Storage, reports: Reports) -> None:
        self._kept, self._storage, self._reports = kept, storage, reports

    async def announce(self, source: str, target: str) -> None:
        """Leave word that one is about to be merged: nobody is counted as the target alone once it is."""
        at = wire.micros(await self._kept.now())
        await self._rewrite(target, source, at)

    async def withdraw(self, source: str, target: str) -> None:
        """It has come about, and everything has moved; or it does not come about."""
        await self._rewrite(target, source, None)

    async def _rewrite(self, target: str, source: str, at: str | None) -> None:
        for _ in range(_TRIES):
            (before,) = await self._kept.fields(target, ["merging"])
            after: dict[str, str] = json.loads(before or "{}")
            after.pop(source, None)
            if at is not None:
                after[source] = at
            put, gone = ({"merging": json.dumps(after)}, ()) if after else ({}, ("merging",))
            change = wire.change(expect={"merging": before}, put=put, gone=gone)
            if await self._kept.swap(target, change):
                return
        raise StorageUnavailable("too many are being merged into the same subject")

    async def finish(self, target: str, waiting: str) -> None:
        """Go on with merges that were announced. Those that have not happened yet are not waited for."""
        now = int(wire.micros(await self._kept.now()))
        for source, at in json.loads(waiting).items():
            into = await whoever(self._storage, source)
            if into != source:
                await self.move(source, into)
            if into != source or now - int(at) > _PATIENCE:
                await self.withdraw(source, target)

    async def move(self, source: str, target: str) -> int:
        """Move everything that is counted. Done again it moves what has been left since.

        Returns:
            How many counters, windows that are over, and idempotency keys.
        """
        for _ in range(_TRIES):
            kind, *rest = await self._kept.run_told(TAKE, source, {"into": target})
            if kind != "reporting":
                break
            await self._reports.finish(source)
        else:
            raise StorageUnavailable("the use of a subject that is being merged is reported all the time")
        if kind == "nothing":
            name = f"a:{source}"
            await self._kept.swap(target, wire.change(expect={name: ""}, put={name: "0"}, lasting=True))
            return 0
        text, now = rest
        parcel: dict[str, Any] = json.loads(text)
        fields: Mapping[str, str] = parcel["fields"] or {}
        keys: Mapping[str, str] = parcel["keys"] or {}
        merged_at = await self._deliver(source, target, parcel["number"], fields, keys, now)
        if merged_at is None:
            return await self.move(source, await self._target_of(target))
        for alias in [field[2:] for field in fields if field.startswith("a:")]:
            await self._point(alias, source, target)
        into = json.dumps([target, merged_at, now])
        await self._kept.swap(
            source, wire.change(expect={"parcel": text}, put={"into": into}, gone=("parcel",))
        )
        return len(keys) + sum(field.startswith(("c:", "p:")) for field in fields)

    async def _target_of(self, subject: str) -> str:
        (into,) = await self._kept.fields(subject, ["into"])
        return str(json.loads(into)[0]) if into else subject

    async def _point(self, alias: str, source: str, target: str) -> None:
        """Who was merged into the source before counts as the target, too."""
        (into,) = await self._kept.fields(alias, ["into"])
        if into and json.loads(into)[0] == source:
            after = json.dumps([target, *json.loads(into)[1:]])
            await self._kept.swap(alias, wire.change(expect={"into": into}, put={"into": after}))

    async def _deliver(
        self,
        source: str,
        target: str,
        number: int,
        fields: Mapping[str, str],
        keys: Mapping[str, str],
        now: str,
    ) -> str | None:
        """Put a parcel's content to the target's, once.

        Returns:
            An instant by which all windows had begun that are one now; None: the target was merged itself.
        """
        renamed = await self._renamed(source, target, fields)
        got = f"a:{source}"
        for _ in range(_TRIES):
            names = list(dict.fromkeys([*renamed.values(), got, "into"]))
            ours = dict(zip(names, await self._kept.fields(target, names), strict=True))
            if ours["into"]:
                return None
            if ours[got] and int(ours[got]) >= number:
                return now
            put = {got: str(number)}
            due: list[str] = []
            merged_at = now
            for field, name in renamed.items():
                if field.startswith("c:"):
                    meter = self._unite(target, name, ours[name], fields[field], now, put, due)
                    merged_at = max(merged_at, wire.micros(meter.counter.start), key=int)
                elif field.startswith("p:"):
                    _put_past(target, name, put.get(name) or ours[name], fields[field], put, due)
                elif field.startswith("s:"):
                    put[name] = _spent(ours[name], fields[field])
                else:
                    put[name] = max(ours[name] or "0", fields[field], key=int)
            change = wire.change(
                expect=ours,
                put=put,
                gone=[name for name in await self._kept.names(target) if name.startswith("w:")],
                keys={f"{target}\0{key}": value for key, value in keys.items()},
                due=due,
                members=[
                    f"{member}\0{target}"
                    for field in fields
                    if field.startswith("c:") and (member := wire.member_of(wire.split(field)[0]))
                ],
                changed=True,
                lasting=True,
            )
            if await self._kept.swap(target, change):
                return merged_at
        raise StorageUnavailable("the subject that another is merged into changes all the time")

    def _unite(
        self,
        target: str,
        name: str,
        ours: str,
        theirs: str,
        now: str,
        put: dict[str, str],
        due: list[str],
    ) -> Meter:
        meter, plan = wire.split(name)
        instant = wire.from_micros(now)
        united = unite(wire.read_meter(ours) if ours else None, wire.read_meter(theirs), instant)
        put[name] = wire.written(united.meter)
        bill = united.meter.bill
        if bill.billable and bill.since is not None:
            due.append("\0".join((meter, plan, target, wire.micros(bill.since))))
        for gone in united.over:
            if gone.bill.billable or gone.bill.reported:  # of the others nothing is kept
                start = wire.micros(gone.counter.start)
                past = json.dumps(
                    [
                        wire.micros(gone.counter.end),
                        str(gone.counter.used),
                        int(gone.bill.billable),
                        str(gone.bill.reported),
                        str(gone.bill.reports),
                    ]
                )
                field = wire.named("p", meter, plan, start)
                _put_past(target, field, put.get(field, ""), past, put, due)
        return united.meter

    async def _renamed(self, source: str, target: str, fields: Mapping[str, str]) -> dict[str, str]:
        """What fields are called with the target. A grant may have got another key there."""
        spent = [field[2:] for field in fields if field.startswith("s:")]
        known = {one.key for one in await self._storage.grants(target)} if spent else set[str]()
        names = {field: field for field in fields}
        for key in spent:
            other = other_key(source, key)
            names[f"s:{key}"] = f"s:{other if other in known else key}"
        return names


def _put_past(target: str, field: str, ours: str, theirs: str, put: dict[str, str], due: list[str]) -> None:
    """A window that is over; one that is there already gets the sum of both."""
    past = json.loads(theirs)
    if ours:
        known = json.loads(ours)
        past[1], past[3] = str(int(past[1]) + int(known[1])), str(int(past[3]) + int(known[3]))
        past[2], past[4] = max(past[2], known[2]), max(past[4], known[4], key=int)
    put[field] = json.dumps(past)
    if past[2]:
        meter, plan, start = wire.split(field)
        due.append("\0".join((meter, plan, target, start)))


def _spent(ours: str, theirs: str) -> str:
    """What was spent of a grant."""
    if not ours:
        return theirs
    pot, known = json.loads(theirs), json.loads(ours)
    return json.dumps([pot[0], str(int(pot[1]) + int(known[1])), max(pot[2], known[2], key=int), *pot[3:]])
