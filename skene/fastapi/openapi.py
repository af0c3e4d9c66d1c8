"""What the OpenAPI document says of gated routes."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI

from skene.engine.program import CompiledStep
from skene.fastapi.arming import Gated

__all__ = ["describe_refusals"]

SCHEMA_NAME = "UsageLimitProblem"
SCHEMA: dict[str, Any] = {
    "title": SCHEMA_NAME,
    "type": "object",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {
            "type": "string",
            "enum": [
                "usage_limit_reached",
                "feature_not_in_plan",
                "member_limit_reached",
                "spend_cap_reached",
            ],
        },
        "loop": {"type": "string"},
        "meter": {"type": "string"},
        "plan": {"type": "string"},
        "limit": {"type": ["integer", "null"]},
        "used": {"type": "integer"},
        "remaining": {"type": ["integer", "null"]},
        "period": {"type": "string"},
        "resets_at": {"type": ["string", "null"], "format": "date-time"},
        "member": {"type": "string"},
        "included": {"type": "integer"},
        "billed_units": {"type": "integer"},
        "upgrade_url": {"type": ["string", "null"], "format": "uri"},
    },
}


def describe_refusals(schema: dict[str, Any], app: FastAPI, gated: Sequence[Gated]) -> dict[str, Any]:
    """Add the refusals of an app's gated routes to its OpenAPI document, in place.

    Doing it twice changes nothing.
    """
    paths: dict[str, Any] = schema.get("paths", {})
    for route in gated:
        if route.app is not app:
            continue
        operations: dict[str, Any] = paths.get(route.local_path, {})
        for method, steps in route.by_method.items():
            operation = operations.get(method.lower())
            if operation is None or not steps:
                continue
            for status in sorted({s for step in steps for s in _statuses(step)}):
                operation.setdefault("responses", {}).setdefault(str(status), _response(status))
            schema.setdefault("components", {}).setdefault("schemas", {}).setdefault(SCHEMA_NAME, SCHEMA)
    return schema


def _statuses(step: CompiledStep) -> set[int]:
    if step.status_code is not None:
        return {step.status_code}
    if step.feature is not None:
        return {403}
    limits = {402 if limit else 403 for limit in step.limits.values() if limit is not None} or {402}
    return limits | {403} if step.member_limits else limits


def _response(status: int) -> dict[str, Any]:
    reason = (
        "The plan does not include this feature" if status == 403 else "The plan's usage limit is reached"
    )
    reference = {"$ref": f"#/components/schemas/{SCHEMA_NAME}"}
    return {"description": reason, "content": {"application/problem+json": {"schema": reference}}}
