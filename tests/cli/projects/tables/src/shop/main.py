from fastapi import APIRouter, Depends, FastAPI
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from shop.db import get_session
from shop.deps import get_current_user
from shop.models import Document, User

documents = APIRouter(prefix="/documents")


class NewDocument(BaseModel):
    title: str


@documents.post("", status_code=201)
async def create(
    body: NewDocument,
    user: User = Depends(get_current_user),
    session: AsyncSession = Depends(get_session),
) -> dict[str, int]:
    document = Document(owner_id=user.id, title=body.title)
    session.add(document)
    await session.commit()
    return {"id": document.id}


def create_app() -> FastAPI:
    """The app."""
    app = FastAPI()
    app.include_router(documents)
    return app


app = create_app()
