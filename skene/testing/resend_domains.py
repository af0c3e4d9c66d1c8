"""The domains of the local Resend: which are verified, and keys that may send and nothing else."""

from collections.abc import Iterable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from skene.testing.resend_rules import Refusal

__all__ = ["Domains"]


class Domains:
    """What `GET /domains` shows.

    Args:
        verified: the domains that may be sent from; None where any may, and then none is listed.
        sending_keys: keys that may not look.
    """

    def __init__(self, verified: Iterable[str] | None, sending_keys: Iterable[str]) -> None:
        self.known: dict[str, str] = dict.fromkeys(verified or (), "verified")
        self._sending_keys = frozenset(sending_keys)

    async def listed(self, request: Request, key: str) -> Response:
        """All of them."""
        if key in self._sending_keys:
            raise Refusal(401, "restricted_api_key", "This API key is restricted to only send emails")
        data: list[Mapping[str, Any]] = [
            {"id": f"domain-{number}", "name": name, "status": status, "region": "eu-west-1"}
            for number, (name, status) in enumerate(self.known.items(), 1)
        ]
        return JSONResponse({"object": "list", "has_more": False, "data": data})
