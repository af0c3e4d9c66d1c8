"""The endpoint behind skene: `uvicorn tests.chaos.apps.gated:app`."""

from fastapi import FastAPI

from skene import UNLIMITED, Profile, Skene, action, condition, define_loop, step, trigger
from skene.adapters.file import FileNotifier
from skene.adapters.postgres import PostgresStorage
from skene.fastapi import Gate
from tests.chaos.apps.endpoint import DATABASE, FOLDER, LIMIT, POOL, current_user, give_endpoint


async def profile(subject: str) -> Profile:
    return Profile(email=f"{subject}@app.test")


freemium = define_loop(
    type="freemium",
    steps=[
        step(
            trigger=trigger.api("/api/features/*", method="POST"),
            condition=condition.usage(limit={"free": LIMIT, "paid": UNLIMITED}, period="30d"),
            action=action.block("Limit.", upgrade_prompt=action.email("upgrade_prompt", provider="file")),
        )
    ],
)
skene = Skene(
    freemium,
    storage=PostgresStorage(DATABASE, pool_size=POOL),
    notifiers={"file": FileNotifier(FOLDER)},
    profile=profile,
)
app = FastAPI(lifespan=skene.lifespan)
Gate(skene, subject=current_user).install(app)
give_endpoint(app)
