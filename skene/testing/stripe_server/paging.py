"""Lists, as Stripe's API pages them."""

from collections.abc import Iterable

from skene.testing.stripe_server import objects
from skene.testing.stripe_server.forms import number
from skene.testing.stripe_server.objects import Obj
from skene.testing.stripe_server.state import ApiFault, State

__all__ = ["page"]


def page(state: State, found: Iterable[Obj], params: Obj, url: str) -> Obj:
    """One page of a list, newest first."""
    entries = list(reversed(list(found)))
    limit = number(params, "limit", 10, range(1, 101))
    for name in ("starting_after", "ending_before"):
        if name in params and params[name] not in [entry["id"] for entry in entries]:
            raise ApiFault(f"No such object: '{params[name]}'", code="resource_missing", param=name)
    ids = [entry["id"] for entry in entries]
    if "ending_before" in params:
        before = entries[: ids.index(params["ending_before"])]
        return objects.listing(before[-limit:], url, has_more=len(before) > limit)
    if "starting_after" in params:
        entries = entries[ids.index(params["starting_after"]) + 1 :]
    return objects.listing(entries[:limit], url, has_more=len(entries) > limit)
