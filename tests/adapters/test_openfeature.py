"""Flags of OpenFeature, answered by loops: nobody is charged for a question."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason

from skene import UNLIMITED, Skene, StorageUnavailable, action, condition, define_loop, step
from skene.adapters.memory import MemoryStorage
from skene.adapters.openfeature import SkeneProvider
from skene.definitions.units import LARGEST
from skene.ports.counters import Consume, Counted

ADA = EvaluationContext("ada")
BLOCK = action.block("No more.")


def loop() -> Any:
    exports = condition.usage(
        limit={"free": 3, "paid": UNLIMITED}, period="30d", meter="exports", member_limit={"free": 1}
    )
    return define_loop(
        type="freemium",
        steps=[
            step(condition=exports, action=BLOCK),
            step(condition=condition.feature("priority_support", meter="tickets"), action=BLOCK),
        ],
    )


@pytest.fixture
async def skene() -> AsyncIterator[Skene]:
    async with Skene(loop(), storage=MemoryStorage()) as skene:
        yield skene


@pytest.fixture
def client(skene: Skene) -> OpenFeatureClient:
    api.set_provider(SkeneProvider(skene), domain="growth")
    return api.get_client("growth")


async def test_a_limit_is_a_boolean_an_integer_and_a_plan(skene: Skene, client: OpenFeatureClient) -> None:
    for left in (3, 2, 1, 0):
        assert await client.get_integer_value_async("exports", -1, ADA) == left
        assert await client.get_boolean_value_async("exports", False, ADA) is (left > 0)
        await skene.consume("ada", "exports")
    assert await client.get_string_value_async("exports", "?", ADA) == "free"
    await skene.set_plan("ada", "paid")
    assert await client.get_boolean_value_async("exports", False, ADA) is True
    assert await client.get_integer_value_async("exports", -1, ADA) == LARGEST
    assert await client.get_string_value_async("exports", "?", ADA) == "paid"
    assert await client.get_object_value_async("exports", {}, ADA) == {
        "allowed": True,
        "plan": "paid",
        "used": 0,
    }


async def test_asking_charges_nobody(skene: Skene, client: OpenFeatureClient) -> None:
    for _ in range(50):
        assert await client.get_boolean_value_async("exports", False, ADA) is True
    for decision in await skene.usage("ada"):
        assert decision.used == 0
    await skene.consume("ada", "exports", 3)
    assert await client.get_boolean_value_async("exports", True, ADA) is False
    assert [row.walls for row in await skene.funnel()] in ([], [0])  # nor is anybody asked to upgrade


async def test_details_tell_why(skene: Skene, client: OpenFeatureClient) -> None:
    await skene.consume("ada", "exports", 3)
    details = await client.get_boolean_details_async("exports", True, ADA)
    assert (details.value, details.variant, details.reason, details.error_code) == (
        False,
        "usage_limit_reached",
        Reason.TARGETING_MATCH,
        None,
    )
    assert details.flag_metadata == {"loop": "freemium", "plan": "free", "used": 3, "limit": 3}
    stands = await client.get_object_value_async("exports", {}, ADA)
    assert stands == {"allowed": False, "plan": "free", "used": 3, "limit": 3, "remaining": 0}


async def test_a_feature_is_a_flag_by_either_name(client: OpenFeatureClient) -> None:
    for name in ("priority_support", "tickets"):
        details = await client.get_boolean_details_async(name, True, ADA)
        assert (details.value, details.variant) == (False, "feature_not_in_plan")


async def test_a_members_share_counts(skene: Skene, client: OpenFeatureClient) -> None:
    await skene.consume("acme", "exports", member="ada")
    of_ada, of_bob = (EvaluationContext("acme", {"member": name}) for name in ("ada", "bob"))
    assert await client.get_boolean_value_async("exports", True, of_ada) is False
    assert await client.get_boolean_value_async("exports", False, of_bob) is True


@pytest.mark.parametrize(
    ("flag", "context", "code", "told"),
    [
        ("export", ADA, ErrorCode.FLAG_NOT_FOUND, "did you mean 'exports'?"),
        ("exports", EvaluationContext(), ErrorCode.TARGETING_KEY_MISSING, "the targeting key is the subject"),
        ("exports", None, ErrorCode.TARGETING_KEY_MISSING, "the targeting key is the subject"),
        ("exports", EvaluationContext("a", {"member": 7}), ErrorCode.INVALID_CONTEXT, "as text"),
        ("exports", EvaluationContext("a", {"member": ""}), ErrorCode.INVALID_CONTEXT, "non-empty"),
    ],
)
async def test_what_cannot_be_asked_gets_the_default(
    client: OpenFeatureClient, flag: str, context: EvaluationContext | None, code: ErrorCode, told: str
) -> None:
    for default in (True, False):
        details = await client.get_boolean_details_async(flag, default, context)
        assert (details.value, details.reason, details.error_code) == (default, Reason.ERROR, code)
        assert told in (details.error_message or "")


async def test_other_ways_of_asking_say_what_to_do(client: OpenFeatureClient) -> None:
    details = await client.get_float_details_async("exports", 0.5, ADA)
    assert (details.value, details.error_code) == (0.5, ErrorCode.TYPE_MISMATCH)
    for told in (
        client.get_boolean_details("exports", True, ADA),
        client.get_integer_details("exports", 1, ADA),
        client.get_string_details("exports", "x", ADA),
        client.get_float_details("exports", 0.5, ADA),
        client.get_object_details("exports", {}, ADA),
    ):
        assert told.reason == Reason.ERROR
        assert "get_boolean_value_async" in (told.error_message or "")


class Away(MemoryStorage):
    async def peek(self, call: Consume) -> Counted:
        raise StorageUnavailable("the database is away")


async def test_an_outage_is_no_limit() -> None:
    async with Skene(loop(), storage=Away()) as skene:
        api.set_provider(SkeneProvider(skene), domain="away")
        details = await api.get_client("away").get_boolean_details_async("exports", True, ADA)
    assert (details.value, details.error_code) == (True, ErrorCode.GENERAL)
    assert "storage unavailable" in (details.error_message or "")
