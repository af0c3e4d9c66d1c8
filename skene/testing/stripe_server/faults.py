"""How the local Stripe says no."""

from skene.testing.stripe_server.objects import Obj

__all__ = ["ApiFault"]


class ApiFault(Exception):
    """An error that the API answers with.

    Attributes:
        status: of the HTTP answer.
        error: the `error` object of its body.
        headers: further headers of the answer.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
    ) -> None:
        self.status = status
        found = {"code": code, "message": message, "param": param, "type": kind}
        self.error: Obj = {name: value for name, value in found.items() if value is not None}
        self.headers: dict[str, str] = {}
        super().__init__(message)
