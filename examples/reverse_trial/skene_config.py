from people import load_profile

from skene import UNLIMITED, Skene, action, condition, define_loop, step, trigger, wait

# The limit that everybody has in the end, and nobody during the trial.
freemium = define_loop(
    type="freemium",
    opinion="The trial and the paid plan are without limits; three reports a month are free",
    steps=[
        step(
            trigger=trigger.api("/reports", method="POST"),
            condition=condition.usage(limit={"free": 3, "trial": UNLIMITED, "paid": UNLIMITED}, period="30d"),
            action=action.block(
                "Three reports a month are free. Upgrade to make more.",
                upgrade_prompt=action.email("upgrade_prompt", provider="resend"),
            ),
        ),
    ],
)

# From the sign-up to three days before the end. Whoever pays is left alone: the chain stops.
reverse_trial = define_loop(
    type="activation",
    name="reverse_trial",
    opinion="Everything for 14 days, then the free limits, with a mail three days before",
    steps=[
        step(
            trigger=trigger.event("signed_up"),
            action=action.email("trial_started", provider="resend"),
            then=wait("11d"),
        ),
        step(
            condition=condition.plan("trial"),
            action=action.email(
                "trial_ending",
                provider="resend",
                personalization={"ends_at": "{{ event.ends_at }}", "upgradeUrl": "{{ upgrade_url }}"},
            ),
        ),
    ],
)

# The day after the last one. Plans that end tell of it by themselves.
trial_over = define_loop(
    type="activation",
    name="trial_over",
    steps=[
        step(
            trigger=trigger.event("plan.changed"),
            condition=condition.plan(changed_from="trial", changed_to="free"),
            action=action.email("trial_over", provider="resend"),
            max_fires=1,
        ),
    ],
)

skene = Skene.from_env(freemium, reverse_trial, trial_over, plans={"price_123": "paid"}, profile=load_profile)
