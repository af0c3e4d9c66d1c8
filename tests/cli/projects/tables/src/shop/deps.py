from fastapi import Depends, HTTPException
from fastapi.security import OAuth2PasswordBearer
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from shop.db import get_session
from shop.models import User

oauth2 = OAuth2PasswordBearer(tokenUrl="/token")


async def get_current_user(
    token: str = Depends(oauth2), session: AsyncSession = Depends(get_session)
) -> User:
    user = await session.scalar(select(User).where(User.token == token))
    if user is None:
        raise HTTPException(401)
    return user
