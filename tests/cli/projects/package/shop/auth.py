from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, HTTPException


@dataclass
class User:
    id: int
    email: str
    active: bool = True


USERS = {"key-of-ada": User(1, "ada@acme.test"), "key-of-bob": User(2, "bob@acme.test", active=False)}


async def get_current_user(x_api_key: Annotated[str, Header()]) -> User:
    user = USERS.get(x_api_key)
    if user is None:
        raise HTTPException(401, "unknown key")
    return user


async def get_active_user(user: Annotated[User, Depends(get_current_user)]) -> User:
    if not user.active:
        raise HTTPException(403, "this account is closed")
    return user


ActiveUser = Annotated[User, Depends(get_active_user)]
