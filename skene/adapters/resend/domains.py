"""The domains of a Resend account."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import httpx

from skene.errors import DeliveryFailed

__all__ = ["list_domains"]


async def list_domains(client: httpx.AsyncClient, base_url: str, api_key: str) -> Mapping[str, str] | None:
    """Each domain with its status; None if the key may send and nothing else.

    Raises:
        DeliveryFailed: Resend cannot be reached, or refuses the key.
    """
    try:
        answer = await client.get(f"{base_url}/domains", headers={"Authorization": f"Bearer {api_key}"})
        said: Any = answer.json()
    except httpx.HTTPError as error:
        raise DeliveryFailed(f"Resend cannot be reached: {type(error).__name__}") from error
    except ValueError as error:
        raise DeliveryFailed("what answered in Resend's place cannot be understood") from error
    body: Mapping[str, Any] = cast(dict[str, Any], said) if isinstance(said, dict) else {}
    if answer.status_code == 401 and body.get("name") == "restricted_api_key":
        return None
    if answer.status_code in (400, 401, 403):
        raise DeliveryFailed(f"Resend refuses the key: mistyped or deleted ({answer.status_code})")
    try:
        answer.raise_for_status()
        domains = cast(Sequence[Mapping[str, object]], body["data"])
        return {str(one["name"]).lower(): str(one["status"]) for one in domains}
    except (httpx.HTTPError, KeyError, TypeError) as error:
        raise DeliveryFailed(f"Resend failed ({answer.status_code})") from error
