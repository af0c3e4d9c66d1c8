from skene import UNLIMITED, Profile, Recovery, Skene, action, condition, define_loop, step, trigger

freemium = define_loop(
    type="freemium",
    opinion="Enforce usage limits for free tier users and trigger upgrade prompts",
    steps=[
        step(
            trigger=trigger.api("/api/features/*", method="POST"),
            condition=condition.usage(limit={"free": 100, "paid": UNLIMITED}, period="30d"),
            action=action.block(
                "You've reached your free tier limit. Upgrade to continue.",
                upgrade_prompt=action.email("upgrade_prompt", provider="resend"),
            ),
        ),
    ],
    recovery=Recovery(retries=0),  # No retries for blocking actions
)


async def load_profile(subject: str) -> Profile | None:
    """Whom to write to. In an app of your own: one query on your users table."""
    return Profile(email=f"{subject}@acme.test", name=subject.title())


# Everything else comes from the environment and .env: PostgreSQL, Stripe and Resend where they are set, and
# without them an SQLite file, plans set by hand, and e-mails written to ./outbox.
skene = Skene.from_env(freemium, plans={"price_123": "paid"}, profile=load_profile)
