"""Ask the Hub one question: whether it answers, whom it takes the token for, how much is left.

Source: huggingface_hub 1.0, `hf_api.py` (whoami); the header `RateLimit` of
draft-ietf-httpapi-ratelimit-headers, as the Hub sends it.
"""

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from pipeline.storage.http import Client, MissingError
from pipeline.storage.hub_repository import hub_endpoint, hub_token
from pipeline.storage.retry import RetryPolicy

_LIMIT: Final = re.compile(r";\s*r\s*=\s*(\d{1,12})\s*;\s*t\s*=\s*(\d{1,12})")
_MOST_BYTES: Final = 64 << 10


@dataclass(frozen=True, kw_only=True, slots=True)
class HubAnswer:
    """What the Hub says of this machine's access to it."""

    endpoint: str
    has_token: bool
    user: str | None = None
    """The account of the token, where the Hub says it."""
    requests_left: int | None = None
    seconds_left: int | None = None
    """How long `requests_left` are for."""


def ask_hub(timeout_seconds: float) -> HubAnswer:
    """Ask once. Raises: NetworkError without an answer; InputError for a token that is refused."""
    endpoint, token = hub_endpoint(), hub_token()
    retry = RetryPolicy(max_tries=1, timeout_seconds=timeout_seconds)
    hint = f"make a new token at {endpoint}/settings/tokens, and set HF_TOKEN to it"
    client = Client(endpoint, token=token, access_hint=hint, retry=retry)
    # Anybody may list sets; who somebody is, the Hub says to that one alone.
    url = f"{endpoint}/api/whoami-v2" if token else f"{endpoint}/api/datasets?limit=1"

    def attempt() -> HubAnswer:
        body = bytearray()
        with client.request(url, "Hub", {}) as response:
            client.receive(response, None, body.extend, _MOST_BYTES)
            left = _LIMIT.search(response.headers.get("RateLimit", ""))
        return HubAnswer(
            endpoint=endpoint,
            has_token=token is not None,
            user=_user(bytes(body)) if token else None,
            requests_left=int(left[1]) if left else None,
            seconds_left=int(left[2]) if left else None,
        )

    try:
        return retry.run("Hub", attempt)
    except MissingError:
        # A mirror need not know everything that the Hub does.
        return HubAnswer(endpoint=endpoint, has_token=token is not None)


def _user(body: bytes) -> str | None:
    with suppress(ValueError):
        answer = json.loads(body)
        name = answer.get("name") if isinstance(answer, dict) else None
        return name if isinstance(name, str) else None
    return None
