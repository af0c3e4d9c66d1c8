from skene import Profile, Skene, action, condition, define_loop, rolling, step, trigger

api = define_loop(
    type="freemium",
    name="api",
    steps=[
        step(
            name="month",
            trigger=trigger.api("/v1/*"),
            condition=condition.usage(limit={"free": 100, "paid": 100_000}, period="30d"),
            action=action.block(
                "Your account has used its calls.",
                upgrade_prompt=action.email("upgrade_prompt", provider="resend"),
            ),
        ),
        step(  # both must admit: a burst is answered with 429, and whoever waits may go on
            name="minute",
            trigger=trigger.api("/v1/*"),
            condition=condition.usage(limit={"free": 20, "paid": 600}, period=rolling("1m")),
            action=action.block("Too many calls at once.", status_code=429),
        ),
    ],
)


async def load_profile(subject: str) -> Profile | None:
    return Profile(email=f"admin@{subject}.test", name=subject.title())


skene = Skene.from_env(api, plans={"price_123": "paid"}, profile=load_profile)
