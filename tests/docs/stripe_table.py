"""Writes the tables of docs/explanation/stripe-truth.md from what the engine does.

`python -m tests.docs.stripe_table --write` puts them in place; without `--write` they are printed.
"""

import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from skene.engine.standing import KNOWN_STATUSES, PlanPolicy, Subscription, entitle
from tests.docs.markdown import ROOT

PATH = ROOT / "docs" / "explanation" / "stripe-truth.md"
START = datetime(2026, 1, 1, tzinfo=UTC)
GRACE, YEARS = timedelta(days=14), timedelta(days=800)
KEEP = PlanPolicy(("starter", "pro"), "free", GRACE)
STRICT = PlanPolicy(KEEP.plans, "free", GRACE, "default", "default")
# As they follow each other in a subscription's life; what Stripe may add is found by the test.
ORDER = (
    "trialing", "active", "past_due", "unpaid", "canceled", "paused", "incomplete", "incomplete_expired",
)  # fmt: skip
ANYTHING = "frozen"


def subscription(status: str, plan: str | None = "pro", **more: object) -> Subscription:
    return Subscription("sub_1", status, plan, START, START + timedelta(days=30), **more)  # type: ignore[arg-type] # keywords of mixed types


def told(
    *subscriptions: Subscription,
    policy: PlanPolicy = KEEP,
    now: datetime = START,
    disputed: bool = False,
) -> str:
    """What the customer may do, in the page's words."""
    standing, warnings = entitle(subscriptions, policy, now=now, disputed=disputed)
    words = {"pro": "the price's", "starter": "the lesser one's", "free": "the default"}
    return words[standing.plan] + (", and a warning" if warnings else "")


def pays(*subscriptions: Subscription) -> str:
    return "yes" if entitle(subscriptions, KEEP, now=START)[0].paying else "no"


def statuses() -> list[list[str]]:
    """A row for each status: the plan in each situation."""
    columns: list[tuple[str, Callable[[str], str]]] = [
        ("plan", lambda status: told(subscription(status))),
        ("counts as paying", lambda status: pays(subscription(status))),
        ("after the grace", lambda status: told(subscription(status), now=START + GRACE)),
        (
            "set to end, until then",
            lambda status: told(subscription(status, ends_at=START + YEARS)),
        ),
        ("and after it", lambda status: told(subscription(status, ends_at=START))),
        (
            'collection paused: `"keep"`',
            lambda status: told(subscription(status, collection_paused=True)),
        ),
        (
            '`"default"`',
            lambda status: told(subscription(status, collection_paused=True), policy=STRICT),
        ),
        ('in dispute: `"keep"`', lambda status: told(subscription(status), disputed=True)),
        (
            '`"default"`',
            lambda status: told(subscription(status), policy=STRICT, disputed=True),
        ),
    ]
    rows = [["Stripe says", *(name for name, _ in columns)]]
    for status in (*ORDER, ANYTHING):
        name = "anything else" if status == ANYTHING else f"`{status}`"
        rows.append([name, *(told_of(status) for _, told_of in columns)])
    return rows


def situations() -> list[list[str]]:
    """What else a customer can hold."""
    lesser = subscription("active", "starter")
    return [
        ["the customer has", "plan"],
        ["no subscription, or was deleted", told()],
        ["one at a price that maps to no plan", told(subscription("active", None))],
        ["one at a price that maps to the default plan", told(subscription("active", "free"))],
        ["a lesser one and a better one, both active",
         told(lesser, subscription("active")).replace("the price's", "the better one's")],
        ["a lesser one that is active, a better one that has ended", told(lesser, subscription("canceled"))],
        ["a lesser one that is active, a better one past its grace",
         told(lesser, subscription("past_due"), now=START + GRACE)],
        ["one left past due, in a later period that nobody paid either",
         told(subscription("past_due", unpaid_since=START - timedelta(days=30)))],
    ]  # fmt: skip


def markdown(rows: list[list[str]]) -> str:
    head, *body = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([head, "|" + " --- |" * len(rows[0]), *body])


def written(text: str) -> str:
    """The page with its tables as the engine has them."""
    for name, rows in (("statuses", statuses()), ("situations", situations())):
        begin, end = f"<!-- {name}: from the engine -->", f"<!-- end of {name} -->"
        between = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        before, after = between.split(text)
        text = f"{before}{begin}\n\n{markdown(rows)}\n\n{end}{after}"
    return text


def missing() -> set[str]:
    """Statuses that the engine knows and the page would leave out."""
    return set(KNOWN_STATUSES) ^ set(ORDER)


if __name__ == "__main__":
    page = written(PATH.read_text(encoding="utf-8"))
    if "--write" in sys.argv:
        PATH.write_text(page, encoding="utf-8")
    else:
        sys.stdout.write(page)
