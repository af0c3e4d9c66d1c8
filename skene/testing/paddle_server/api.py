"""The operations of Paddle's API that are used here. Unknown parameters and fields are refused."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, cast

from skene.testing.paddle_server.objects import Obj
from skene.testing.paddle_server.state import ApiFault, State

__all__ = ["OPERATIONS", "Answer", "Call", "Operation"]

Answer: TypeAlias = tuple[int, Any, Obj | None]
"""Status, data, and the pagination if it is a list."""

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_MOST = 200


class Call:
    """A request, read.

    Attributes:
        state: the account.
        path: its variable parts.
        query: its parameters.
        body: its JSON object; empty for a question.
        base_url: of this server.
        default_link: the account's default payment link.
    """

    def __init__(
        self,
        state: State,
        path: Mapping[str, str],
        query: Mapping[str, str],
        body: Obj,
        urls: tuple[str, str | None],
    ) -> None:
        self.state, self.path, self.query, self.body = state, path, query, body
        self.base_url, self.default_link = urls


Operation: TypeAlias = Callable[[Call], Answer]


def _only(given: Mapping[str, Any], allowed: Sequence[str], required: Sequence[str] = ()) -> None:
    for name in given:
        if name not in allowed:
            raise ApiFault("bad_request", f"{name} is not allowed here")
    for name in required:
        if given.get(name) in (None, "", []):
            raise ApiFault("bad_request", f"{name} is required")


def _paged(call: Call, path: str, entries: Sequence[Obj], key: str = "id", *filters: str) -> Answer:
    _only(call.query, ("after", "order_by", "per_page", *filters))
    order = call.query.get("order_by", "id[DESC]" if key == "event_id" else "id[ASC]")
    if order not in ("id[ASC]", "id[DESC]"):
        raise ApiFault("bad_request", "order_by is not allowed")
    for name in filters:
        if name in call.query:
            wanted = call.query[name].split(",")
            entries = [one for one in entries if one.get(name) in wanted]
    entries = sorted(entries, key=lambda one: str(one[key]), reverse=order == "id[DESC]")
    after = call.query.get("after")
    if after is not None:
        backwards = order == "id[DESC]"
        entries = [one for one in entries if (str(one[key]) < after if backwards else str(one[key]) > after)]
    size = call.query.get("per_page", "50")
    if not size.isdigit() or int(size) < 1:
        raise ApiFault("bad_request", "per_page is not allowed")
    page = entries[: min(int(size), _MOST)]
    last = page[-1][key] if page else ""
    paging = {
        "per_page": min(int(size), _MOST),
        "next": f"{call.base_url}{path}?after={last}",
        "has_more": len(entries) > len(page),
        "estimated_total": len(entries),
    }
    return 200, page, paging


def _list(kind: str, *filters: str) -> Operation:
    def operation(call: Call) -> Answer:
        return _paged(call, f"/{kind}s", list(call.state.tables[kind].values()), "id", *filters)

    return operation


def _list_customers(call: Call) -> Answer:
    entries = list(call.state.tables["customer"].values())
    if "status" not in call.query:  # as Paddle does, where things can be archived
        entries = [one for one in entries if one["status"] == "active"]
    return _paged(call, "/customers", entries, "id", "status", "email", "id")


def _list_events(call: Call) -> Answer:
    return _paged(call, "/events", call.state.events, "event_id")


def _get(kind: str) -> Operation:
    def operation(call: Call) -> Answer:
        _only(call.query, ())
        return 200, call.state.find(kind, call.path["number"]), None

    return operation


def _create_customer(call: Call) -> Answer:
    _only(call.body, ("email", "name", "locale", "custom_data"), ("email",))
    if not _EMAIL.fullmatch(str(call.body["email"])):
        raise ApiFault("bad_request", "email is not an address")
    custom = _custom_data(call.body)
    return 201, call.state.create_customer(str(call.body["email"]), call.body.get("name"), custom), None


def _create_transaction(call: Call) -> Answer:
    _only(call.body, ("items", "customer_id", "custom_data", "collection_mode", "checkout"), ("items",))
    lines: list[tuple[str, int]] = []
    for line in cast("list[Obj]", call.body["items"]):
        _only(line, ("price_id", "quantity"), ("price_id", "quantity"))
        lines.append((line["price_id"], line["quantity"]))
    owner = call.body.get("customer_id")
    if owner is not None and call.state.find("customer", owner)["status"] != "active":
        raise ApiFault("transaction_customer_not_active", "the customer is archived")
    checkout: Obj = call.body.get("checkout") or {}
    _only(checkout, ("url",))
    link = checkout.get("url") or call.default_link
    if link is None:
        raise ApiFault("transaction_default_checkout_url_not_set", "set a default payment link first")
    more: dict[str, Obj | str | None] = {"customer_id": owner, "custom_data": _custom_data(call.body)}
    made = call.state.create_transaction(lines, "api", **more)
    made["checkout"] = {"url": f"{link}{'&' if '?' in link else '?'}_ptxn={made['id']}"}
    return 201, made, None


def _create_portal(call: Call) -> Answer:
    _only(call.body, ("subscription_ids",))
    owner = call.state.find("customer", call.path["number"])
    number = call.state.new_id("cpls")
    overview = f"{call.base_url}/portal/{owner['id']}?action=overview&token={number}"
    return 201, {"id": number, "customer_id": owner["id"], "urls": {"general": {"overview": overview}}}, None


def _custom_data(body: Obj) -> Obj | None:
    given = body.get("custom_data")
    if given is not None and (not isinstance(given, dict) or not given):
        raise ApiFault("bad_request", "custom_data must have at least one key")
    return cast("Obj | None", given)


OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("GET", "/customers"): _list_customers,
    ("POST", "/customers"): _create_customer,
    ("GET", "/customers/{number}"): _get("customer"),
    ("POST", "/customers/{number}/portal-sessions"): _create_portal,
    ("GET", "/subscriptions"): _list("subscription", "customer_id", "status", "id"),
    ("GET", "/subscriptions/{number}"): _get("subscription"),
    ("POST", "/transactions"): _create_transaction,
    ("GET", "/transactions/{number}"): _get("transaction"),
    ("GET", "/adjustments"): _list("adjustment", "customer_id", "status", "action", "transaction_id"),
    ("GET", "/events"): _list_events,
}
