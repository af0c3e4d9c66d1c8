from skene import UNLIMITED, Profile, Skene, action, condition, define_loop, step

team = define_loop(
    type="freemium",
    name="team",
    opinion="Small teams are free, and grow into the paid plan",
    steps=[
        step(
            condition=condition.gauge(limit={"free": 3, "paid": 10, "enterprise": UNLIMITED}, meter="seats"),
            action=action.block(
                "All seats of your team are taken.",
                upgrade_prompt=action.email("upgrade_prompt", provider="resend"),
            ),
        ),
    ],
)


async def load_profile(subject: str) -> Profile | None:
    return Profile(email=f"owner@{subject}.test", name=subject.title())


prices = {"price_123": "paid", "price_456": "enterprise"}
skene = Skene.from_env(team, plans=prices, profile=load_profile)
