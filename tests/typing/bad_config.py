"""A user's configuration with one mistake on each marked line; never run.

The comment names the argument that a type checker must point at.
"""

from skene.definitions import Recovery, action, calendar, condition, define_loop, load_loop, step, trigger

freemium = define_loop(
    type="premium",  # mistake: type
    steps=[
        step(
            trigger=trigger.api(
                "/api/features/*",
                methods="POST",  # mistake: methods
            ),
            condition=condition.usage(
                limt={"free": 100},  # mistake: limt
                limit={"free": 100},
                period="30d",
            ),
            action=action.block(
                "You've reached your free tier limit.",
                upgradePrompt=action.email("upgrade_prompt"),  # mistake: upgradePrompt
            ),
        ),
        step(
            trigger=trigger.api(
                "/api/features/*",
                method=5,  # mistake: method
            ),
            condition=condition.usage(
                limit={"free": "100"},  # mistake: str
                period="30d",
            ),
            action=action.block(
                "No.",
                notify_at=0.8,  # mistake: notify_at
            ),
        ),
        step(
            condition=condition.usage(
                limit={"free": 100},
                period=30,  # mistake: period
                charge="sucess",  # mistake: charge
            ),
            action=action.email("upgrade_prompt"),  # mistake: action
        ),
        step(
            condition=condition.usage(
                limit={"free": 100},
                period=calendar("months"),  # mistake: months
            ),
            action=action.block(
                "No.",
                upgrade_prompt="upgrade_prompt",  # mistake: upgrade_prompt
            ),
        ),
    ],
    recovery=Recovery(
        retrys=0,  # mistake: retrys
    ),
    holdout="10%",  # mistake: holdout
)

freemium.enforce = False  # mistake: enforce
freemium.stepps  # mistake: stepps  # noqa: B018  # what is tried is the name
load_loop(5)  # mistake: load_loop
Recovery(base=5)  # mistake: base
