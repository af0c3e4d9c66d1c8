"""A user's configuration with one mistake on each marked line; never run.

The comment names the argument that a type checker must point at.
"""

from skene.definitions import (
    Recovery,
    action,
    billed,
    calendar,
    condition,
    define_loop,
    load_loop,
    step,
    trigger,
    wait,
)

freemium = define_loop(
    type="premium",  # mistake: type
    steps=[
        step(
            trigger=trigger.api(
                "/api/features/*",
                methods="POST",  # mistake: methods
            ),
            condition=condition.usage(limt={"free": 100}, limit={}, period="30d"),  # mistake: limt
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
            condition=condition.usage(limit={"free": 100}, period=30),  # mistake: period
            action="upgrade_prompt",  # mistake: action
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


def nobody() -> bool:
    return True


drip = define_loop(
    type="activation",
    steps=[
        step(
            trigger=trigger.database(
                "users",
                event="inserted",  # mistake: event
            ),
            action=action.email("a"),
            then=2,  # mistake: then
        ),
        step(
            trigger=trigger.database(
                "users",
                event="update",
                colums=["status"],  # mistake: colums
            ),
            condition=condition.query(
                "SELECT 1",
                timeout=5,  # mistake: timeout
            ),
            action=[
                action.email("a"),
                action.block("No."),  # mistake: block
            ],
        ),
        step(
            trigger=trigger.schedule(
                "0 9 * * *",
                timezone=2,  # mistake: timezone
            ),
            condition=condition.all_of(
                condition.plan("free"),
                condition.usage(limit={"free": 1}, period="1d"),  # mistake: usage
            ),
            action=action.grant(
                "50",  # mistake: 50
            ),
        ),
        step(
            trigger=trigger.event(
                5,  # mistake: 5
            ),
            condition=condition.function(
                nobody,  # mistake: nobody
            ),
            action=action.webhook(
                "crm",
                "user.activated",
                url="https://acme.test",  # mistake: url
            ),
            cooldwn="7d",  # mistake: cooldwn
        ),
        step(
            condition=condition.usage(at=0.8, period="30d"),  # mistake: usage
            action=action.function(
                5,  # mistake: function
            ),
            max_fires="3",  # mistake: max_fires
        ),
    ],
    goal=wait("2d"),  # mistake: goal
)
trigger.webhook("crm")  # mistake: webhook
condition.usage(limit={"free": 1}, period="1d", charge="sucess")  # mistake: charge
billed(meter=5)  # mistake: meter
billed(meter="api_calls", included="1000")  # mistake: included
billed(included=1000)  # mistake: billed
condition.usage(at="80%")  # mistake: at

freemium.enforce = False  # mistake: enforce
freemium.stepps  # mistake: stepps  # noqa: B018  # what is tried is the name
load_loop(5)  # mistake: load_loop
Recovery(base=5)  # mistake: base
