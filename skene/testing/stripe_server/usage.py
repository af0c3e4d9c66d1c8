"""Billing meters and entitlements: what is reported, and what follows from what was bought."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta

from stripe.params import billing as known_billing_params
from stripe.params import entitlements as known_entitlement_params

from skene.testing.stripe_server import objects
from skene.testing.stripe_server.api import Operation
from skene.testing.stripe_server.forms import known
from skene.testing.stripe_server.objects import Obj
from skene.testing.stripe_server.paging import page
from skene.testing.stripe_server.state import ApiFault, State

__all__ = ["USAGE_OPERATIONS", "create_feature", "create_meter", "emit_summaries", "sum_of"]

_REMEMBERED = timedelta(hours=24)
_OLDEST = timedelta(days=35)
_AHEAD = timedelta(minutes=5)
_ENTITLING = ("active", "trialing", "past_due")
_WHOLE = re.compile(r"-?[0-9]{1,18}")


# --- meters ---------------------------------------------------------------------------------------


def create_meter(state: State, event_name: str, display_name: str) -> Obj:
    """Add a meter.

    Raises:
        ApiFault: another one takes events of this name.
    """
    if any(one["event_name"] == event_name for one in state.tables["billing.meter"].values()):
        raise ApiFault(f"There is a meter for {event_name!r} already.", param="event_name")
    made = objects.meter(state.new_id("mtr"), state.seconds(), display_name, event_name)
    state.tables["billing.meter"][made["id"]] = made
    return made


def sum_of(
    state: State, customer: str, event_name: str, since: datetime | None, until: datetime | None
) -> int:
    """What was reported of a customer, of use in `[since, until)`."""
    return sum(
        int(one["payload"]["value"])
        for one in state.tables["billing.meter_event"].values()
        if (one["event_name"], one["payload"]["stripe_customer_id"]) == (event_name, customer)
        and (since is None or one["timestamp"] >= int(since.timestamp()))
        and (until is None or one["timestamp"] < until.timestamp())
    )


def new_meter(state: State, path: Mapping[str, str], params: Obj, base: str) -> Obj:
    known(params, known_billing_params.MeterCreateParams.__annotations__)
    for name in ("display_name", "event_name", "default_aggregation"):
        if not params.get(name):
            raise ApiFault(f"Missing required param: {name}.", code="parameter_missing", param=name)
    if params["default_aggregation"] != {"formula": "sum"} or {"customer_mapping", "value_settings"} & set(
        params
    ):
        raise ApiFault("This server adds up the default value of the default customer, and nothing else.")
    return create_meter(state, params["event_name"], params["display_name"])


def list_meters(state: State, path: Mapping[str, str], params: Obj, base: str) -> Obj:
    known(params, known_billing_params.MeterListParams.__annotations__)
    found = [
        one for one in state.tables["billing.meter"].values() if params.get("status") in (None, one["status"])
    ]
    return page(state, found, params, "/v1/billing/meters")


def new_meter_event(state: State, path: Mapping[str, str], params: Obj, base: str) -> Obj:
    known(params, known_billing_params.MeterEventCreateParams.__annotations__)
    name = params.get("event_name", "")
    if not any(one["event_name"] == name for one in state.tables["billing.meter"].values()):
        raise ApiFault(
            f"No active meter found for event name: {name}", code="resource_missing", param="event_name"
        )
    payload = _payload(params)
    now = state.seconds()
    identifier = params.get("identifier") or state.new_id("mtrevt")
    if len(identifier) > 100:
        raise ApiFault("Invalid string: at most 100 characters", param="identifier")
    events = state.tables["billing.meter_event"]
    if identifier in events and now - events[identifier]["created"] < _REMEMBERED.total_seconds():
        raise ApiFault(f"An event already exists with identifier {identifier}.")
    at = _instant(params, now)
    # One of the same identifier that Stripe no longer remembers counts beside it.
    place = identifier if identifier not in events else state.new_id(identifier)
    events[place] = objects.meter_event(identifier, now, name, payload, at)
    return events[place]


def _payload(params: Obj) -> Obj:
    payload = params.get("payload")
    if not isinstance(payload, dict):
        raise ApiFault("Missing required param: payload.", code="parameter_missing", param="payload")
    given: Obj = {str(key): value for key, value in payload.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] - a form
    if not given.get("stripe_customer_id"):
        raise ApiFault("The payload names no customer.", param="payload[stripe_customer_id]")
    if not _WHOLE.fullmatch(str(given.get("value", ""))):
        raise ApiFault("The payload's value is no whole number.", param="payload[value]")
    return given


def _instant(params: Obj, now: int) -> int:
    written = str(params.get("timestamp", now))
    if not written.isdigit():
        raise ApiFault(f"Invalid timestamp: {written}", param="timestamp")
    at = int(written)
    if at < now - _OLDEST.total_seconds():
        raise ApiFault(
            "The timestamp is too far in the past.", code="timestamp_too_far_in_past", param="timestamp"
        )
    if at > now + _AHEAD.total_seconds():
        raise ApiFault("The timestamp is in the future.", code="timestamp_in_future", param="timestamp")
    return at


# --- entitlements ---------------------------------------------------------------------------------


def create_feature(state: State, lookup_key: str, product: str) -> str:
    """Attach a feature, made on first use, to a product; returns its id."""
    table = state.tables["entitlements.feature"]
    found = next((one for one in table.values() if one["lookup_key"] == lookup_key), None)
    if found is None:
        found = objects.feature(state.new_id("feat"), lookup_key)
        table[found["id"]] = found
    attached = state.product_features.setdefault(product, [])
    if found["id"] not in attached:
        attached.append(found["id"])
    return str(found["id"])


def emit_summaries(state: State) -> None:
    """Record an event for each customer whose entitlements have changed since the last time."""
    if not state.product_features and not state.entitled:
        return
    for customer in list(state.tables["customer"]):
        held = _held(state, customer)
        if held != state.entitled.get(customer, ()):
            state.entitled[customer] = held
            state.emit("entitlements.active_entitlement_summary.updated", _summary(state, customer))


def _held(state: State, customer: str) -> tuple[str, ...]:
    """The features that a customer's subscriptions entitle to, in the order they were attached."""
    products = [
        line["price"]["product"]
        for one in state.subscriptions_of(customer)
        if one["status"] in _ENTITLING
        for line in state.items[one["id"]]
    ]
    return tuple(
        dict.fromkeys(feature for product in products for feature in state.product_features.get(product, ()))
    )


def _entitlements(state: State, customer: str) -> list[Obj]:
    features = state.tables["entitlements.feature"]
    return [
        objects.entitlement(f"ent_{customer}_{feature}", features[feature])
        for feature in _held(state, customer)
    ]


def _summary(state: State, customer: str) -> Obj:
    url = f"/v1/customer/{customer}/entitlements"
    held = _entitlements(state, customer)
    return {
        "object": "entitlements.active_entitlement_summary",
        "customer": customer,
        "entitlements": objects.listing(held[:10], url, has_more=len(held) > 10),
        "livemode": False,
    }


def list_entitlements(state: State, path: Mapping[str, str], params: Obj, base: str) -> Obj:
    known(params, known_entitlement_params.ActiveEntitlementListParams.__annotations__)
    owner = state.living_customer(params.get("customer", ""))
    return page(state, _entitlements(state, owner["id"]), params, "/v1/entitlements/active_entitlements")


def list_features(state: State, path: Mapping[str, str], params: Obj, base: str) -> Obj:
    known(params, known_entitlement_params.FeatureListParams.__annotations__)
    found = [
        one
        for one in state.tables["entitlements.feature"].values()
        if params.get("lookup_key") in (None, one["lookup_key"])
    ]
    return page(state, found, params, "/v1/entitlements/features")


USAGE_OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("POST", "/v1/billing/meters"): new_meter,
    ("GET", "/v1/billing/meters"): list_meters,
    ("POST", "/v1/billing/meter_events"): new_meter_event,
    ("GET", "/v1/entitlements/active_entitlements"): list_entitlements,
    ("GET", "/v1/entitlements/features"): list_features,
}
