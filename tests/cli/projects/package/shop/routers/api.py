from fastapi import APIRouter

from shop.routers.reports import router as reports

router = APIRouter()
router.include_router(reports, prefix="/reports", tags=["reports"])
