"""The API's operations: parameters in, objects out."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import TypeAlias, cast

from stripe import params as known_params
from stripe.params import billing_portal as known_portal_params
from stripe.params import checkout as known_checkout_params

from skene.testing.stripe_server import objects
from skene.testing.stripe_server.forms import flag, known, number, string_map
from skene.testing.stripe_server.objects import Obj
from skene.testing.stripe_server.paging import page
from skene.testing.stripe_server.state import ApiFault, Sold, State

__all__ = ["OPERATIONS", "Operation"]

Operation: TypeAlias = Callable[[State, Mapping[str, str], Obj, str], Obj]
"""Takes the state, the path's parameters, the request's parameters and the server's own address."""

_DEAD = ("canceled", "incomplete_expired")


# --- customers ------------------------------------------------------------------------------------


def create_customer(state: State, path: Mapping[str, str], params: Obj, base: str) -> Obj:
    known(params, known_params.CustomerCreateParams.__annotations__)
    _check_email(params, "email")
    return state.create_customer(
        email=params.get("email"), name=params.get("name"), metadata=string_map(params)
    )


def list_customers(state: State, path: Mapping[str, str], params: Obj, base: str) -> Obj:
    known(params, known_params.CustomerListParams.__annotations__)
    found = (one for one in state.tables["customer"].values() if not one.get("deleted"))
    return page(
        state, (one for one in found if params.get("email") in (None, one["email"])), params, "/v1/customers"
    )


def update_customer(state: State, path: Mapping[str, str], params: Obj, base: str) -> Obj:
    known(params, known_params.CustomerUpdateParams.__annotations__)
    _check_email(params, "email")
    found = state.living_customer(path["id"])
    changes: Obj = {name: params[name] or None for name in ("email", "name") if name in params}
    if "metadata" in params:
        changes["metadata"] = _merged(found["metadata"], string_map(params))
    previous = {name: deepcopy(found[name]) for name, value in changes.items() if found[name] != value}
    found.update(changes)
    if previous:
        state.emit("customer.updated", found, previous)
    return found


def delete_customer(state: State, path: Mapping[str, str], params: Obj, base: str) -> Obj:
    state.living_customer(path["id"])
    return state.delete_customer(path["id"])


def _retrieve(kind: str) -> Operation:
    def operation(state: State, path: Mapping[str, str], params: Obj, base: str) -> Obj:
        known(params, ())
        return state.get(kind, path["id"])

    return operation


def _check_email(params: Obj, name: str) -> None:
    if params.get(name) and "@" not in params[name]:
        raise ApiFault("Invalid email address", code="email_invalid", param=name)


def _merged(old: Obj, new: Mapping[str, str]) -> Obj:
    return {key: value for key, value in {**old, **new}.items() if value != ""}


# --- prices ---------------------------------------------------------------------------------------


def list_prices(state: State, path: Mapping[str, str], params: Obj, base: str) -> Obj:
    known(params, known_params.PriceListParams.__annotations__)
    keys = params.get("lookup_keys")
    found = [
        one
        for one in state.tables["price"].values()
        if (keys is None or one["lookup_key"] in keys)
        and ("active" not in params or one["active"] is flag(params, "active"))
        and params.get("product") in (None, one["product"])
    ]
    return page(state, found, params, "/v1/prices")


def list_products(state: State, path: Mapping[str, str], params: Obj, base: str) -> Obj:
    known(params, known_params.ProductListParams.__annotations__)
    return page(state, state.tables["product"].values(), params, "/v1/products")


# --- subscriptions --------------------------------------------------------------------------------


def create_subscription(state: State, path: Mapping[str, str], params: Obj, base: str) -> Obj:
    known(params, known_params.SubscriptionCreateParams.__annotations__)
    made = state.subscribe(
        params.get("customer", ""),
        _lines(params, "items"),
        trial_days=number(params, "trial_period_days", 0, range(731)),
        metadata=string_map(params),
    )
    return state.schedule_end(made["id"], True) if flag(params, "cancel_at_period_end") else made


def list_subscriptions(state: State, path: Mapping[str, str], params: Obj, base: str) -> Obj:
    known(params, known_params.SubscriptionListParams.__annotations__)
    if "customer" in params and params["customer"] not in state.tables["customer"]:
        raise ApiFault(f"No such customer: '{params['customer']}'", code="resource_missing", param="customer")
    status = params.get("status")
    found = [
        one
        for one in state.tables["subscription"].values()
        if params.get("customer") in (None, one["customer"])
        and (status == "all" or (one["status"] == status if status else one["status"] not in _DEAD))
        and (params.get("price") in (None, *(line["price"]["id"] for line in state.items[one["id"]])))
    ]
    return page(state, found, params, "/v1/subscriptions", state.tables["subscription"].values())


def update_subscription(state: State, path: Mapping[str, str], params: Obj, base: str) -> Obj:
    known(params, known_params.SubscriptionUpdateParams.__annotations__)
    found = state.get("subscription", path["id"])
    for line in cast("list[Obj]", params.get("items", [])):
        if "price" in line:
            state.replace_price(path["id"], line.get("id"), line["price"], int(line.get("quantity", 1)))
    if "metadata" in params:
        state.update(path["id"], {"metadata": _merged(found["metadata"], string_map(params))})
    if "cancel_at_period_end" in params:
        state.schedule_end(path["id"], flag(params, "cancel_at_period_end"))
    return found


def cancel_subscription(state: State, path: Mapping[str, str], params: Obj, base: str) -> Obj:
    known(params, known_params.SubscriptionCancelParams.__annotations__)
    return state.cancel(path["id"])


def pause_subscription(state: State, path: Mapping[str, str], params: Obj, base: str) -> Obj:
    return state.update(path["id"], {"status": "paused"}, "customer.subscription.paused")


def resume_subscription(state: State, path: Mapping[str, str], params: Obj, base: str) -> Obj:
    if state.get("subscription", path["id"])["status"] != "paused":
        raise ApiFault("Only paused subscriptions can be resumed.")
    return state.update(path["id"], {"status": "active"}, "customer.subscription.resumed")


def list_items(state: State, path: Mapping[str, str], params: Obj, base: str) -> Obj:
    known(params, known_params.SubscriptionItemListParams.__annotations__)
    owner = state.get("subscription", params.get("subscription", ""), "subscription")
    return page(state, reversed(state.items[owner["id"]]), params, "/v1/subscription_items")


def _lines(params: Obj, name: str) -> list[tuple[str, int]]:
    value = params.get(name)
    if not isinstance(value, list):
        raise ApiFault(f"Missing required param: {name}.", code="parameter_missing", param=name)
    return [(str(line.get("price", "")), int(line.get("quantity", 1))) for line in cast("list[Obj]", value)]


# --- sessions -------------------------------------------------------------------------------------


def create_checkout(state: State, path: Mapping[str, str], params: Obj, base: str) -> Obj:
    known(params, known_checkout_params.SessionCreateParams.__annotations__)
    if params.get("mode") != "subscription":
        raise ApiFault("This server sells subscriptions only: mode must be subscription.", param="mode")
    if not params.get("success_url"):
        raise ApiFault("Missing required param: success_url.", code="parameter_missing", param="success_url")
    if "customer" in params and "customer_email" in params:
        raise ApiFault("You may only specify one of these parameters: customer, customer_email.")
    if "customer" in params:
        state.living_customer(params["customer"])
    _check_email(params, "customer_email")
    if len(params.get("client_reference_id", "")) > 200:
        raise ApiFault("Invalid string: at most 200 characters", param="client_reference_id")
    lines = _lines(params, "line_items")
    total = sum(
        state.recurring_price(price, f"line_items[{i}][price]")["unit_amount"] * quantity
        for i, (price, quantity) in enumerate(lines)
    )
    bought = params.get("subscription_data", {})
    made = objects.checkout_session(state.new_id("cs_test"), state.seconds(), "", params)
    made.update(url=f"{base}/c/pay/{made['id']}", metadata=string_map(params), amount_total=total)
    made["currency"] = state.tables["price"][lines[0][0]]["currency"]
    state.tables["checkout.session"][made["id"]] = made
    trial_days = number(bought, "trial_period_days", 0, range(731))
    state.sold[made["id"]] = Sold(lines, string_map(bought), trial_days)
    return made


def list_checkouts(state: State, path: Mapping[str, str], params: Obj, base: str) -> Obj:
    known(params, known_checkout_params.SessionListParams.__annotations__)
    found = [
        one
        for one in state.tables["checkout.session"].values()
        if params.get("customer") in (None, one["customer"]) and params.get("status") in (None, one["status"])
    ]
    return page(state, found, params, "/v1/checkout/sessions")


def expire_checkout(state: State, path: Mapping[str, str], params: Obj, base: str) -> Obj:
    return state.expire(path["id"])


def create_portal(state: State, path: Mapping[str, str], params: Obj, base: str) -> Obj:
    known(params, known_portal_params.SessionCreateParams.__annotations__)
    owner = state.living_customer(params.get("customer", ""))
    number_ = state.new_id("bps")
    url = f"{base}/p/session/{number_}"
    made = objects.portal_session(number_, state.seconds(), owner["id"], params.get("return_url"), url)
    state.tables["billing_portal.session"][number_] = made
    return made


def list_events(state: State, path: Mapping[str, str], params: Obj, base: str) -> Obj:
    known(params, known_params.EventListParams.__annotations__)
    kinds = params.get("types")
    if kinds is not None and (len(kinds) > 20 or "type" in params):
        raise ApiFault("You may give up to 20 types, and no single one besides.", param="types")
    since = number(params.get("created", {}), "gte", 0, range(2**40))
    found = (
        one
        for one in state.events
        if params.get("type") in (None, one["type"])
        and (kinds is None or one["type"] in kinds)
        and one["created"] >= since
    )
    return page(state, found, params, "/v1/events", state.events)


def retrieve_event(state: State, path: Mapping[str, str], params: Obj, base: str) -> Obj:
    for one in state.events:
        if one["id"] == path["id"]:
            return one
    raise ApiFault(f"No such event: '{path['id']}'", status=404, code="resource_missing", param="id")


OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("POST", "/v1/customers"): create_customer,
    ("GET", "/v1/customers"): list_customers,
    ("GET", "/v1/customers/{id}"): _retrieve("customer"),
    ("POST", "/v1/customers/{id}"): update_customer,
    ("DELETE", "/v1/customers/{id}"): delete_customer,
    ("GET", "/v1/prices"): list_prices,
    ("GET", "/v1/prices/{id}"): _retrieve("price"),
    ("GET", "/v1/products"): list_products,
    ("GET", "/v1/products/{id}"): _retrieve("product"),
    ("POST", "/v1/subscriptions"): create_subscription,
    ("GET", "/v1/subscriptions"): list_subscriptions,
    ("GET", "/v1/subscriptions/{id}"): _retrieve("subscription"),
    ("POST", "/v1/subscriptions/{id}"): update_subscription,
    ("DELETE", "/v1/subscriptions/{id}"): cancel_subscription,
    ("POST", "/v1/subscriptions/{id}/pause"): pause_subscription,
    ("POST", "/v1/subscriptions/{id}/resume"): resume_subscription,
    ("GET", "/v1/subscription_items"): list_items,
    ("POST", "/v1/checkout/sessions"): create_checkout,
    ("GET", "/v1/checkout/sessions"): list_checkouts,
    ("GET", "/v1/checkout/sessions/{id}"): _retrieve("checkout.session"),
    ("POST", "/v1/checkout/sessions/{id}/expire"): expire_checkout,
    ("POST", "/v1/billing_portal/sessions"): create_portal,
    ("GET", "/v1/events"): list_events,
    ("GET", "/v1/events/{id}"): retrieve_event,
}
