"""Which routes to gate, and the patterns that cover exactly those."""

import re
from collections.abc import Sequence

from skene.cli.init.apps import Route
from skene.cli.init.callers import Caller
from skene.engine.match import Coverage, covers

__all__ = ["patterns_for", "propose"]

_NOT_COUNTED = re.compile(
    r"(?:log|sign)-?_?(?:in|out|up)|tokens?|auth\w*|register|registration|password\S*|reset\S*|verify\S*|verification"
    r"|health\w*|ready|readyz|live|livez|ping|metrics|status|webhooks?|callbacks?|billing|checkout|payments?|subscriptions?"
    r"|stripe|admin|internal|docs|me|profile|settings|invitations?|users|accounts|unsubscribe|skene",
    re.IGNORECASE,
)
_WIDE = re.compile(r"\{\w+:path\}")
_PARAMETER = re.compile(r".*\{.*")


def propose(routes: Sequence[Route], caller: Caller | None) -> list[Route]:
    """The routes that do an app's work for somebody: POSTs behind its sign-in, besides those of accounts.

    Without a sign-in all such POSTs; without any POST the GETs behind the sign-in.
    """
    who = f"{caller.module}.{caller.name}" if caller else None
    counted = [one for one in routes if not _is_apart(one)]
    for method, known in (("POST", True), ("POST", False), ("GET", True)):
        found = [
            one
            for one in counted
            if one.method == method and (not known or who is None or who in one.depends)
        ]
        if found and (method == "POST" or who is not None):
            return found
    return []


def _is_apart(route: Route) -> bool:
    parts = [part for part in route.path.strip("/").split("/") if part]
    return not parts or any(_NOT_COUNTED.fullmatch(part) for part in parts)


def patterns_for(chosen: Sequence[Route], routes: Sequence[Route]) -> list[tuple[str, str]]:
    """Patterns that cover the chosen routes: one for all of a method where it covers no other, else one each.

    Returns:
        Method and pattern.
    """
    found: list[tuple[str, str]] = []
    for method in dict.fromkeys(one.method for one in chosen):
        ours = [one for one in chosen if one.method == method]
        others = [one for one in routes if one.method == method and one not in ours]
        shared = _shared(ours, others)
        patterns = [shared] if shared else sorted({_pattern(one.path) for one in ours})
        found += [(method, pattern) for pattern in patterns]
    return found


def _shared(ours: Sequence[Route], others: Sequence[Route]) -> str | None:
    """The longest `/prefix/*` over all of ours and none of the others."""
    if len(ours) < 2:
        return None
    split = [one.path.strip("/").split("/") for one in ours]
    prefix: list[str] = []
    for parts in zip(*(one[:-1] for one in split), strict=False):
        if len(set(parts)) > 1 or _PARAMETER.fullmatch(parts[0]):
            break
        prefix.append(parts[0])
    pattern = "/" + "/".join([*prefix, "*"])
    exact = prefix and not any(covers(pattern, one.path) is not Coverage.NONE for one in others)
    return pattern if exact else None


def _pattern(path: str) -> str:
    """A route's own: `*` for each parameter."""
    parts = path.strip("/").split("/")
    wide = next((number for number, part in enumerate(parts) if _WIDE.search(part)), len(parts))
    return "/" + "/".join("*" if _PARAMETER.fullmatch(part) else part for part in parts[: wide + 1])
