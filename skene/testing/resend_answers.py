"""What the local Resend reads and answers on any of its paths, and its hosted templates."""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from skene.testing.resend_rules import Refusal, Template, template_of

__all__ = ["Cut", "HostedTemplates", "error", "not_allowed", "not_found", "read_json"]


class Cut(Response):
    """An answer that breaks off: the server closes the connection, and the client knows nothing."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Begin the answer and end it there."""
        headers = [(b"content-type", b"application/json"), (b"content-length", b"64")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})


async def read_json(request: Request) -> object:
    """The body.

    Raises:
        Refusal: 422, it is not JSON.
    """
    try:
        return await request.json()
    except ValueError as error:
        raise Refusal(422, "validation_error", "The body is not JSON.") from error


def error(refusal: Refusal) -> JSONResponse:
    """An error as Resend writes it."""
    body = {"statusCode": refusal.status, "name": refusal.name, "message": refusal.message}
    return JSONResponse(body, refusal.status, refusal.headers)


def not_found(_: Request, __: Exception) -> Response:
    """To a path that nothing is at."""
    return error(Refusal(404, "not_found", "The requested endpoint does not exist."))


def not_allowed(_: Request, __: Exception) -> Response:
    """To a method that the path does not take."""
    return error(Refusal(405, "method_not_allowed", "Method is not allowed for the requested path."))


class HostedTemplates:
    """The hosted templates.

    Attributes:
        known: by id and by alias.
    """

    def __init__(self, new_id: Callable[[], str]) -> None:
        self.known: dict[str, Template] = {}
        self._new_id = new_id

    async def create(self, request: Request, api_key: str) -> Response:
        """`POST /templates`: a draft."""
        made = template_of(await read_json(request), self._new_id())
        self.known[made.id] = made
        if made.alias:
            self.known[made.alias] = made
        return JSONResponse({"object": "template", "id": made.id}, 201)

    async def show(self, request: Request, api_key: str) -> Response:
        """`GET /templates/{id}`."""
        found = self._template(request)
        shown = {
            "object": "template",
            "id": found.id,
            "name": found.name,
            "alias": found.alias,
            "from": found.sender,
            "subject": found.subject,
            "html": found.html,
            "text": found.text,
            "status": "published" if found.published else "draft",
        }
        return JSONResponse(shown)

    async def publish(self, request: Request, api_key: str) -> Response:
        """`POST /templates/{id}/publish`: from now on it can be sent."""
        found = self._template(request)
        found.published = True
        return JSONResponse({"object": "template", "id": found.id})

    def _template(self, request: Request) -> Template:
        found = self.known.get(request.path_params["id"])
        if found is None:
            raise Refusal(404, "not_found", "Template not found")
        return found
