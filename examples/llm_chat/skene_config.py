from skene import Profile, Skene, action, condition, define_loop, step

chat = define_loop(
    type="freemium",
    name="chat",
    opinion="Try the assistant for free, pay once you rely on it",
    steps=[
        step(  # no trigger: only app.py knows how many tokens an answer takes
            condition=condition.usage(limit={"free": 1_000, "paid": 50_000}, period="30d", meter="tokens"),
            action=action.block(
                "Your free tokens are used up. Upgrade to go on.",
                upgrade_prompt=action.email("upgrade_prompt", provider="resend"),
            ),
        ),
    ],
)


async def load_profile(subject: str) -> Profile | None:
    return Profile(email=f"{subject}@acme.test", name=subject.title())


skene = Skene.from_env(chat, plans={"price_123": "paid"}, profile=load_profile)
