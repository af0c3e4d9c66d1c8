from fastapi import APIRouter

router = APIRouter()


@router.get("/healthz")
async def healthz() -> str:
    return "ok"
