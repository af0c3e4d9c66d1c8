"""What is paid for subscriptions, given back, and disputed; reduced to what anybody here reads."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from stripe import params as known_params

from skene.testing.stripe_server import objects
from skene.testing.stripe_server.forms import known, number
from skene.testing.stripe_server.objects import Obj
from skene.testing.stripe_server.state import ApiFault, State

__all__ = ["PAYMENT_OPERATIONS", "dispute", "refund", "settle_dispute"]

Operation: TypeAlias = Callable[[State, Mapping[str, str], Obj, str], Obj]


def refund(state: State, customer: str, amount: int | None) -> Obj:
    """Give a customer's latest payment back, or part of it.

    Raises:
        LookupError: there is no payment.
        ValueError: more than is left of it.
    """
    charge = _latest(state, customer)
    left = charge["amount"] - charge["amount_refunded"]
    given = left if amount is None else amount
    if not 0 < given <= left:
        raise ValueError(f"there is {left} left to give back of {charge['id']}, and not {given}")
    made: Obj = {
        "id": state.new_id("re"),
        "object": "refund",
        "amount": given,
        "charge": charge["id"],
        "created": state.seconds(),
        "currency": charge["currency"],
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "status": "succeeded",
    }
    state.tables["refund"][made["id"]] = made
    charge["amount_refunded"] += given
    charge["refunded"] = charge["amount_refunded"] == charge["amount"]
    state.emit("refund.created", made)
    state.emit("charge.refunded", charge)
    return charge


def dispute(state: State, customer: str) -> Obj:
    """Let a customer dispute their latest payment.

    Raises:
        LookupError: there is no payment.
    """
    charge = _latest(state, customer)
    made: Obj = {
        "id": state.new_id("du"),
        "object": "dispute",
        "amount": charge["amount"],
        "charge": charge["id"],
        "created": state.seconds(),
        "currency": charge["currency"],
        "livemode": False,
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "reason": "general",
        "status": "needs_response",
    }
    state.tables["dispute"][made["id"]] = made
    charge["disputed"] = True
    state.emit("charge.dispute.created", made)
    return made


def settle_dispute(state: State, customer: str, status: str) -> Obj:
    """Decide a customer's latest dispute.

    Raises:
        LookupError: there is none.
    """
    charges = state.tables["charge"]
    found = [
        one for one in state.tables["dispute"].values() if charges[one["charge"]]["customer"] == customer
    ]
    if not found:
        raise LookupError(f"{customer!r} disputes nothing")
    found[-1]["status"] = status
    state.emit("charge.dispute.closed", found[-1])
    return found[-1]


def _latest(state: State, customer: str) -> Obj:
    found = [one for one in state.tables["charge"].values() if one["customer"] == customer]
    if not found:
        raise LookupError(f"{customer!r} has paid nothing")
    return found[-1]


# --- the API --------------------------------------------------------------------------------------


def _list_of(kind: str, field: str, allowed: Mapping[str, object]) -> Operation:
    """Lists one kind of object, latest first, all of them or those where one field has a value."""

    def operation(state: State, path: Mapping[str, str], params: Obj, base: str) -> Obj:
        known(params, allowed)
        limit = number(params, "limit", 10, range(1, 101))
        table = reversed(list(state.tables[kind].values()))
        found = [one for one in table if params.get(field) in (None, _value(one, field))]
        return objects.listing(found[:limit], f"/v1/{kind}s", has_more=len(found) > limit)

    return operation


def _value(one: Obj, field: str) -> object:
    if one["object"] == "invoice" and field == "subscription":
        return one["parent"]["subscription_details"]["subscription"]
    return one[field]


def _retrieve_charge(state: State, path: Mapping[str, str], params: Obj, base: str) -> Obj:
    return state.get("charge", path["id"])


def _retrieve_intent(state: State, path: Mapping[str, str], params: Obj, base: str) -> Obj:
    for charge in state.tables["charge"].values():
        if charge["payment_intent"] == path["id"]:
            return {
                "id": path["id"],
                "object": "payment_intent",
                "customer": charge["customer"],
                "latest_charge": charge["id"],
            }
    message = f"No such payment_intent: '{path['id']}'"
    raise ApiFault(message, status=404, code="resource_missing", param="intent")


PAYMENT_OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("GET", "/v1/invoices"): _list_of(
        "invoice", "subscription", known_params.InvoiceListParams.__annotations__
    ),
    ("GET", "/v1/charges"): _list_of("charge", "customer", known_params.ChargeListParams.__annotations__),
    ("GET", "/v1/charges/{id}"): _retrieve_charge,
    ("GET", "/v1/disputes"): _list_of("dispute", "charge", known_params.DisputeListParams.__annotations__),
    ("GET", "/v1/payment_intents/{id}"): _retrieve_intent,
}
