"""What makes a request the same request: what a repetition under one Idempotency-Key is recognised by."""

from hashlib import sha256
from typing import Protocol

from starlette.datastructures import FormData, UploadFile
from starlette.requests import HTTPConnection, Request

__all__ = ["Unrecognisable", "fingerprint"]

MOST = 1_048_576
"""Bytes of a body that is read here because nobody else has read it yet."""
PIECE = 65_536


class Unrecognisable(Exception):
    """The body goes past the gate as a stream: whether it is the same again cannot be told."""


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...


async def fingerprint(connection: HTTPConnection) -> str:
    """A hash over method, address and the whole body.

    All of the body: whoever could change a part of it unseen would get any number of calls for one unit.

    Raises:
        Unrecognisable: the endpoint, or a dependency, reads the body as a stream by itself, and it was read
            already or is over 1 MiB.
    """
    digest = sha256()
    digest.update(str(connection.scope.get("method", "GET")).encode())
    digest.update(str(connection.scope["path"]).encode("utf-8", "surrogatepass"))
    digest.update(b"?" + connection.scope.get("query_string", b""))
    if isinstance(connection, Request):
        await _add_body(digest, connection)
    return digest.hexdigest()


async def _add_body(digest: _Hash, request: Request) -> None:
    # FastAPI has validated the request, and Starlette keeps what was read for that under these names.
    form, body = getattr(request, "_form", None), getattr(request, "_body", None)
    if isinstance(form, FormData):
        await _add_form(digest, form)
    elif isinstance(body, bytes):
        digest.update(body)
    else:
        digest.update(await _read(request))


async def _read(request: Request) -> bytes:
    """Read a body that nobody has read yet, and leave it to the endpoint as if nobody had."""
    pieces: list[bytes] = []
    size = 0
    try:
        async for piece in request.stream():
            size += len(piece)
            if size > MOST:
                raise Unrecognisable
            pieces.append(piece)
    except RuntimeError as error:  # a dependency of the app's has read the stream
        raise Unrecognisable from error
    body = b"".join(pieces)
    setattr(request, "_body", body)  # noqa: B010 - what Starlette's own `body()` does, without a bound
    return body


async def _add_form(digest: _Hash, form: FormData) -> None:
    """Field by field: the boundary between the parts of a form is another one in every repetition."""
    for name, value in form.multi_items():
        _add(digest, name)
        if isinstance(value, UploadFile):
            _add(digest, value.filename or "")
            await _add_file(digest, value)
        else:
            _add(digest, value)


async def _add_file(digest: _Hash, upload: UploadFile) -> None:
    content, position = sha256(), upload.file.tell()
    await upload.seek(0)
    while piece := await upload.read(PIECE):
        content.update(piece)
    await upload.seek(position)
    digest.update(content.digest())


def _add(digest: _Hash, text: str) -> None:
    encoded = text.encode("utf-8", "surrogatepass")
    digest.update(b"%d:" % len(encoded) + encoded)
