"""Stands in for a language model. One word is one token, and an answer repeats the question."""

from collections.abc import AsyncGenerator

from anyio.lowlevel import checkpoint


def count(text: str) -> int:
    return len(text.split())


async def answer(prompt: str, most: int) -> AsyncGenerator[str]:
    """At most `most` tokens, as they are made."""
    for word in prompt.split()[:most]:
        await checkpoint()
        if word == "crash":
            raise RuntimeError("the model is gone")
        yield word
