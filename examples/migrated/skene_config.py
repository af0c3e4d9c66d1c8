from skene import UNLIMITED, Profile, Skene, action, calendar, condition, define_loop, step, trigger

exports = define_loop(
    type="freemium",
    name="exports",
    steps=[
        step(
            trigger=trigger.api("/export", method="POST"),
            condition=condition.usage(limit={"free": 3, "paid": UNLIMITED}, period=calendar("month")),
            action=action.block(
                "Your free exports of this month are used up.",
                upgrade_prompt=action.email("upgrade_prompt", provider="resend"),
            ),
        ),
    ],
)


async def load_profile(subject: str) -> Profile | None:
    return Profile(email=f"{subject}@acme.test", name=subject.title())


skene = Skene.from_env(exports, plans={"price_123": "paid"}, profile=load_profile)
