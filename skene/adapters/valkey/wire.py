"""What is said to the functions in the server, and how what they keep is read."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from zlib import crc32

from skene.engine.bill import Bill
from skene.engine.counter import Counter
from skene.engine.merging import Meter
from skene.engine.window import EPOCH, Anchored, Rolling, WindowRule
from skene.ports.counters import Consume, Receipt

__all__ = [
    "BUCKETS",
    "change",
    "from_micros",
    "keys_of",
    "member_of",
    "micros",
    "named",
    "named_bucket",
    "read_meter",
    "request",
    "split",
    "told_receipts",
    "written",
]

BUCKETS = 1024
"""Subjects lie in so many slots of a cluster; what must be found without a subject's name is kept in each."""

_MICROSECOND = timedelta(microseconds=1)
_MOMENT = "1000000"
"""For how long, in microseconds, what SQL said is believed when somebody is to be refused."""
_NONE = Bill()


def micros(at: datetime) -> str:
    """An instant as the functions read it."""
    return str(max(0, (at - EPOCH) // _MICROSECOND))


def from_micros(text: str) -> datetime:
    """An instant as they tell it."""
    return EPOCH + timedelta(microseconds=int(text))


def named_bucket(prefix: str, bucket: int, kind: str) -> str:
    """The key of something that is kept for all subjects of a bucket."""
    return f"{{{prefix}:{bucket:x}}}:{kind}"


def keys_of(prefix: str, subject: str) -> tuple[str, ...]:
    """The keys of a subject, all in one slot of a cluster, because the slot follows from what braces hold.

    Returns:
        Its hash; and for its bucket idempotency keys, how old they are, what is to be reported, who is
        counted as a member of a team, and when counters end.
    """
    tag = f"{{{prefix}:{crc32(subject.encode()) % BUCKETS:x}}}"
    return (f"{tag}:of:{subject}", f"{tag}:keys", f"{tag}:ages", f"{tag}:due", f"{tag}:in", f"{tag}:ends")


def named(kind: str, *parts: str) -> str:
    """A field of a subject's hash."""
    return f"{kind}:" + "\0".join(parts)


def split(field: str) -> list[str]:
    """The parts that a field is named by."""
    return field[2:].split("\0")


def member_of(meter: str) -> str | None:
    """Whose counter `<meter>@<member>` is. An @ in a route's path makes nobody a member."""
    name, at, member = meter.partition("@")
    return member if at and "/" not in name else None


def _rule(rule: WindowRule) -> list[Any]:
    if isinstance(rule, Anchored):
        return ["anchored", str(rule.length // _MICROSECOND)]
    if isinstance(rule, Rolling):
        return ["rolling", str(rule.length // _MICROSECOND), str(rule.part // _MICROSECOND)]
    return ["edges", [micros(edge) for edge in rule.edges], rule.billing_cycle]


def request(call: Consume, subject: str, now: str | None, *, spend: bool, alone: bool, lasts: str) -> str:
    """A call as the function reads it.

    Args:
        call: what is asked.
        subject: who is counted: the one that the call names, or whom that one was merged into.
        now: the injected clock's; None: the server's.
        spend: charge it if it is admitted.
        alone: whoever is being merged into the subject is not waited for.
        lasts: for how long what SQL said is believed, in microseconds.
    """
    asked: dict[str, Any] = {
        "subject": subject,
        "default": call.default_plan,
        "spend": spend,
        "alone": alone,
        "lasts": lasts,
        "moment": _MOMENT,
        "charges": [
            {
                "meter": item.meter,
                "step": item.step,
                "cost": str(item.cost),
                "limits": {plan: "" if n is None else str(n) for plan, n in item.limits.items()},
                "rule": _rule(item.rule),
                "billed": item.billed,
                "watched": item.watched,
                **({} if item.feature is None else {"feature": item.feature}),
            }
            for item in call.charges
        ],
    }
    if call.idempotency_key is not None:
        asked |= {"key": call.idempotency_key, "fingerprint": call.fingerprint}
    return json.dumps(asked if now is None else {**asked, "now": now})


def told_receipts(receipts: Iterable[Receipt]) -> list[list[str]]:
    """Receipts as the function reads them."""
    return [[one.meter, one.plan, micros(one.at), str(one.cost)] for one in receipts]


def read_meter(text: str) -> Meter:
    """A counter and its bill, as they are kept."""
    start, end, used, extra, parts, notices, told = json.loads(text)
    bill = _NONE
    if told:
        since = from_micros(told[2]) if told[2] else None
        bill = Bill(bool(told[0]), int(told[1]), since, int(told[3]))
    counter = Counter(
        from_micros(start),
        from_micros(end),
        int(used),
        tuple((from_micros(at), int(units)) for at, units in parts),
        tuple(notices),  # an empty list is written as an empty object
        int(extra),
    )
    return Meter(counter, bill)


def written(meter: Meter) -> str:
    """A counter and its bill, to be kept."""
    counter, bill = meter.counter, meter.bill
    told = [
        int(bill.billable),
        str(bill.reported),
        "" if bill.since is None else micros(bill.since),
        str(bill.reports),
    ]
    return json.dumps(
        [
            micros(counter.start),
            micros(counter.end),
            str(counter.used),
            str(counter.extra),
            [[micros(at), str(used)] for at, used in counter.parts],
            list(counter.notices),
            [] if bill == _NONE else told,
        ]
    )


def change(
    *,
    expect: Mapping[str, str] | None = None,
    put: Mapping[str, str] | None = None,
    gone: Sequence[str] = (),
    keys: Mapping[str, str] | None = None,
    due: Sequence[str] = (),
    settled: Sequence[str] = (),
    members: Sequence[str] = (),
    parted: Sequence[str] = (),
    there: bool = False,
    changed: bool = False,
    lasting: bool = False,
) -> str:
    """A change of a subject's fields, made only if those of `expect` are as expected ('' is missing).

    Args:
        expect, put, gone: fields.
        keys: idempotency keys; one that is there stays.
        due, settled: windows to be reported, or no more.
        members, parted: members of the subject as a team, or no more.
        there: not if nothing is kept of the subject.
        changed: SQL is to be read anew.
        lasting: the subject's hash is kept for ever.
    """
    return json.dumps(
        {
            "expect": expect or {},
            "set": put or {},
            "gone": gone,
            "keys": keys or {},
            "due": due,
            "settled": settled,
            "members": members,
            "parted": parted,
            "there": there,
            "changed": changed,
            "lasting": lasting,
        }
    )
