"""The same as skene_config.py, with the loop read from the JSON of the TypeScript configuration."""

import json
from pathlib import Path

from people import load_profile

from skene import Skene, load_loop

seed = json.loads(Path(__file__).with_name("seed.json").read_text())
activation = load_loop({**seed, "goal": {"type": "event", "event": "second_project"}})

onboarding = load_loop(
    {
        "type": "activation",
        "name": "onboarding",
        "steps": [
            {
                "trigger": {"type": "database", "table": "users", "event": "insert"},
                "action": {"type": "email", "provider": "resend", "template": "first_steps"},
                "then": {"type": "wait", "length": "2d"},
            },
            {"action": {"type": "email", "provider": "resend", "template": "examples"}, "then": "2d"},
            {"action": {"type": "email", "provider": "resend", "template": "need_help"}},
        ],
        "goal": {"type": "query", "query": "SELECT id FROM projects WHERE owner_id = $1"},
    }
)

skene = Skene.from_env(activation, onboarding, profile=load_profile)
