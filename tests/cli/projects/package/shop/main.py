from fastapi import FastAPI

from .routers import api, health
from .settings import settings

app: FastAPI = FastAPI(title=settings.title)
app.include_router(health.router)
app.include_router(api.router, prefix=settings.prefix)
