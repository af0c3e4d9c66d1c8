from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel

from shop.auth import ActiveUser

router = APIRouter()


class Question(BaseModel):
    text: str
    depth: int | None = None


@router.get("")
async def list_reports(user: ActiveUser) -> list[str]:
    return [f"a report of {user.email}"]


@router.post("/summaries")
async def make_report(question: Question, user: ActiveUser) -> dict[str, str]:
    return {"report": question.text, "for": user.email}


@router.post("/{report}/exports")
async def export(report: UUID, user: ActiveUser) -> dict[str, str]:
    return {"export": str(report), "for": user.email}
