from skene import Profile, Skene, action, condition, define_loop, step

reports = define_loop(
    type="freemium",
    name="reports",
    steps=[
        step(
            condition=condition.usage(limit={"free": 5, "paid": 500}, period="30d", meter="reports"),
            action=action.block(
                "Your free reports are made.",
                upgrade_prompt=action.email("upgrade_prompt", provider="resend"),
            ),
        ),
    ],
)


async def load_profile(subject: str) -> Profile | None:
    return Profile(email=f"{subject}@acme.test", name=subject.title())


skene = Skene.from_env(reports, plans={"price_123": "paid"}, profile=load_profile)
