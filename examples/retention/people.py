import store

from skene import Profile


async def load_profile(subject: str) -> Profile | None:
    """Whom to write to: one query on the users table."""
    user = await store.find_user(int(subject))
    if user is None:
        return None
    last = user["last_activity_at"].isoformat()
    return Profile(email=user["email"], name=user["name"], last_activity_at=last)
