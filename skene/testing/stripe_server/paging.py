"""Lists, as Stripe's API pages them."""

from collections.abc import Iterable

from skene.testing.stripe_server import objects
from skene.testing.stripe_server.forms import number
from skene.testing.stripe_server.objects import Obj
from skene.testing.stripe_server.state import ApiFault, State

__all__ = ["page"]


def page(
    state: State, found: Iterable[Obj], params: Obj, url: str, everything: Iterable[Obj] | None = None
) -> Obj:
    """One page of a list, newest first.

    Args:
        found: what belongs into the list, oldest first.
        everything: what a page may begin after besides, such as a subscription that has ended meanwhile.
    """
    fits = {entry["id"]: entry for entry in found}
    paged = "starting_after" in params or "ending_before" in params
    ids = list(reversed([entry["id"] for entry in everything] if everything and paged else [*fits]))
    limit = number(params, "limit", 10, range(1, 101))
    for name in ("starting_after", "ending_before"):
        if name in params and params[name] not in ids:
            raise ApiFault(f"No such object: '{params[name]}'", code="resource_missing", param=name)
    if "ending_before" in params:
        before = [fits[one] for one in ids[: ids.index(params["ending_before"])] if one in fits]
        return objects.listing(before[-limit:], url, has_more=len(before) > limit)
    if "starting_after" in params:
        ids = ids[ids.index(params["starting_after"]) + 1 :]
    entries = [fits[one] for one in ids if one in fits]
    return objects.listing(entries[:limit], url, has_more=len(entries) > limit)
