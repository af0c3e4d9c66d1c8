"""The seeds with one thing changed, and the places in it."""

import json
from pathlib import Path
from typing import Any

import pytest

from skene.definitions import DefinitionError, load_loop

SEED = Path(__file__).with_name("seed.json")
ACTIVATION = Path(__file__).with_name("seed_activation.json")
RETENTION = Path(__file__).with_name("seed_retention.json")
ENDPOINT = "steps[0].trigger.endpoint"
METHOD = "steps[0].trigger.method"
FREE = "steps[0].condition.limit.free"
PAID = "steps[0].condition.limit.paid"
PERIOD = "steps[0].condition.period"
BLOCK = "steps[0].action"
PROMPT = "steps[0].action.upgradePrompt"


def place(loop: Any, path: str) -> tuple[Any, Any]:
    """Finds what holds the place that a path names, and the key of that place in it."""
    keys: list[Any] = [
        int(key) if key.isdigit() else key for key in path.replace("[", ".").replace("]", "").split(".")
    ]
    for key in keys[:-1]:
        loop = loop[key]
    return loop, keys[-1]


def seed_with(path: str, value: Any, seed: Path = SEED) -> dict[str, Any]:
    loop: dict[str, Any] = json.loads(seed.read_text(encoding="utf-8"))
    holder, key = place(loop, path)
    holder[key] = value
    return loop


def only_fault(loop: Any) -> str:
    with pytest.raises(DefinitionError) as caught:
        load_loop(loop)
    (fault,) = caught.value.faults
    return str(fault)
