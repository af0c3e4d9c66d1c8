"""Chat that streams: tokens are held before the answer and settled after it, for nobody knows its length.

What was streamed is paid for, also when the model breaks off or the browser goes away in the middle. Who has
fewer tokens left than an answer may take gets a shorter one, and who has none is refused before it begins.
"""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from typing import Annotated

import model
from fastapi import Depends, FastAPI, Header, HTTPException, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel
from skene_config import skene

from skene import Hold, QuotaExceeded
from skene.asgi import refusal
from skene.fastapi import Gate

LONGEST = 200  # tokens of an answer


async def current_user_id(authorization: Annotated[str, Header()] = "") -> str:
    user = authorization.removeprefix("Bearer token-of-")  # stands in for your own authentication
    if user not in ("ada", "bob"):
        raise HTTPException(401)
    return user


app = FastAPI(title="Acme chat", lifespan=skene.lifespan)
Gate(skene, subject=current_user_id).install(app)  # webhooks, upgrade links, usage


class Message(BaseModel):
    text: str


@app.exception_handler(QuotaExceeded)
async def answer_refusal(request: Request, error: QuotaExceeded) -> Response:
    return refusal(error.decision)


@app.post("/chat")
async def chat(message: Message, user: Annotated[str, Depends(current_user_id)]) -> StreamingResponse:
    asked = model.count(message.text)
    left = (await skene.check(user, "tokens")).remaining
    most = asked + LONGEST if left is None else max(asked + 1, min(asked + LONGEST, left))
    stack = AsyncExitStack()  # stays open while the answer is streamed
    hold = await stack.enter_async_context(skene.reserve(user, "tokens", most))
    return StreamingResponse(stream(message.text, asked, hold, stack), media_type="text/plain")


async def stream(prompt: str, asked: int, hold: Hold, stack: AsyncExitStack) -> AsyncGenerator[str]:
    tokens = asked
    try:
        async with aclosing(model.answer(prompt, hold.units - asked)) as words:
            async for word in words:
                tokens += 1
                yield word + " "
    finally:
        hold.used(tokens)
        await stack.aclose()  # without the error, if any: what was streamed is kept
