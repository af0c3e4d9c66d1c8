from typing import Any

from fastapi import HTTPException

from skene import Profile, Skene, action, calendar, condition, define_loop, step, trigger

MEGABYTE = 1_000_000


def megabytes(request: Any) -> int:
    """Every megabyte that is begun; told by the header, since the body is not read yet."""
    length = request.headers.get("content-length", "")
    if not length.isdecimal():
        raise HTTPException(411, "Say how long the file is: Content-Length.")
    return max(1, -(-int(length) // MEGABYTE))


uploads = define_loop(
    type="freemium",
    name="uploads",
    steps=[
        step(
            trigger=trigger.api("/files/*", method="PUT"),
            condition=condition.usage(
                limit={"free": 10, "paid": 1_000}, period=calendar("month"), meter="megabytes", cost=megabytes
            ),
            action=action.block(
                "You have uploaded your free megabytes of this month.",
                upgrade_prompt=action.email("upgrade_prompt", provider="resend"),
                notify_at=(0.8,),
            ),
        ),
    ],
)


async def load_profile(subject: str) -> Profile | None:
    return Profile(email=f"{subject}@acme.test", name=subject.title())


skene = Skene.from_env(uploads, plans={"price_123": "paid"}, profile=load_profile)
