"""The same as skene_config.py, with the loop read from the JSON of the TypeScript configuration."""

from pathlib import Path

from skene import Profile, Skene, load_loop

freemium = load_loop(Path(__file__).with_name("seed.json"))


async def load_profile(subject: str) -> Profile | None:
    """Whom to write to. In an app of your own: one query on your users table."""
    return Profile(email=f"{subject}@acme.test", name=subject.title())


skene = Skene.from_env(freemium, plans={"price_123": "paid"}, profile=load_profile)
