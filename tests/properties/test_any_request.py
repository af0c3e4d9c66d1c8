"""Any request that a schema allows, and many that it does not, to every mounted route and to a gated one.

The mounted routes are in no schema of the app's: people read about them in the docs. Here they have one.
"""

from typing import Annotated, Any

import pytest
import schemathesis
from fastapi import FastAPI, Header
from pydantic import BaseModel
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

from skene import Skene, action, condition, define_loop, step, trigger
from skene.adapters.memory import MemoryStorage
from skene.fastapi import Gate
from skene.testing.clock import ManualClock
from skene.testing.stripe_server import FakeStripe
from tests.runtime.shop import Post, profile
from tests.runtime.till import PLANS, billing
from tests.support.extent import extent, seeded

JSON, PROBLEM, PAGE = "application/json", "application/problem+json", "text/html"
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance]
TOKEN = {"token": {"type": "string"}}
SESSION = {"session_id": {"type": "string"}, "tries": {"type": "string"}}
HOOK = {200: JSON, 400: PROBLEM, 401: PROBLEM, 404: PROBLEM, 413: PROBLEM}
FORM = {200: PAGE, 400: PAGE, 422: JSON}
MOUNTED: dict[tuple[str, str], tuple[dict[str, Any], dict[int, str]]] = {
    ("post", "/skene/webhooks/stripe"): ({}, HOOK),
    ("post", "/skene/webhooks/in/{source}"): ({}, HOOK),
    ("post", "/skene/webhooks/{channel}"): ({}, HOOK),
    ("get", "/skene/unsubscribe"): (TOKEN, FORM),
    ("post", "/skene/unsubscribe"): ({**TOKEN, "undo": {"type": "boolean"}}, FORM),
    ("get", "/skene/upgrade"): (TOKEN, {303: "", 400: PAGE, 404: PAGE}),
    ("get", "/skene/checkout/return"): (SESSION, {200: PAGE, 404: PAGE}),
    ("get", "/skene/portal"): ({}, {303: "", 401: PROBLEM, 404: PROBLEM}),
    ("get", "/skene/usage"): ({}, {200: JSON, 401: PROBLEM}),
}
"""Parameters, and what may be answered."""


class Text(BaseModel):
    words: list[str]


async def caller(x_user: Annotated[str | None, Header()] = None) -> str | None:
    return x_user


def make_app() -> FastAPI:
    clock = ManualClock()
    stripe = FakeStripe(now=clock.now, prices=PLANS)
    loop = define_loop(
        type="freemium",
        steps=[
            step(
                trigger=trigger.api("/api/*", method="POST"),
                condition=condition.usage(limit={"free": 3, "starter": 5, "pro": "unlimited"}, period="30d"),
                action=action.block("Limit.", upgrade_prompt=action.email("upgrade_prompt", provider="mail")),
            )
        ],
    )
    skene = Skene(
        loop,
        storage=MemoryStorage(clock=clock),
        billing=billing(stripe),
        notifiers={"mail": Post()},
        profile=profile,
        clock=clock,
        worker=False,
    )
    app = FastAPI(lifespan=skene.lifespan)

    # 400 is FastAPI's own answer to a body that is no text.
    @app.post("/api/count", responses={400: {}, 401: {}, 409: {}})
    async def count(text: Text) -> int:
        return len(text.words)

    Gate(skene, subject=caller).install(app)
    make_schema = app.openapi

    def whole_schema() -> dict[str, Any]:
        schema = make_schema()
        for (method, path), (query, answers) in MOUNTED.items():
            schema["paths"].setdefault(path, {})[method] = operation(path, query, answers)
        return schema

    app.openapi = whole_schema  # type: ignore[method-assign] # as FastAPI's own docs do it
    return app


def operation(path: str, query: dict[str, Any], answers: dict[int, str]) -> dict[str, Any]:
    inside = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    text = {"type": "string"}
    parameters = [
        *({"name": name, "in": "path", "required": True, "schema": text} for name in inside),
        *({"name": name, "in": "query", "schema": kind} for name, kind in query.items()),
        {"name": "x-user", "in": "header", "schema": text},
    ]
    return {
        "parameters": parameters,
        "responses": {
            str(status): {"description": "", **({"content": {kind: {}}} if kind else {})}
            for status, kind in answers.items()
        },
        **({"requestBody": {"content": {JSON: {"schema": {}}}}} if "webhooks" in path else {}),
    }


schema = schemathesis.openapi.from_asgi("/openapi.json", make_app())


def test_every_mounted_route_is_tried() -> None:
    paths = {(one.ok().method, one.ok().path) for one in schema.get_all_operations()}
    assert paths == {*MOUNTED, ("post", "/api/count")}


@pytest.mark.filterwarnings("ignore")  # of the client that is used inside
@seeded
@extent(40, 2000)
@schema.parametrize()
def test_any_request_gets_a_documented_answer(case: schemathesis.Case) -> None:
    answer = case.call()
    case.validate_response(answer, checks=CHECKS)
