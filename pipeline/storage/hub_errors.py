"""What the Hub answers, to what `huggingface_hub` asks of it, as errors of ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Final

from pipeline.core.errors import (
    ConfigError,
    InputError,
    NetworkError,
    OutputError,
    PipelineError,
    causes_of,
)

_LOGIN: Final = "log in with `hf auth login`, or set HF_TOKEN"
_AGAIN: Final = "run it again later"
_HINTS: Final = {
    401: _LOGIN,
    403: f"{_LOGIN}, as an account that may do this: check its role, whether the repository is"
    " gated, and what room the account has left",
    409: "somebody else changed the repository meanwhile: run it again",
    412: "somebody else changed the repository meanwhile: run it again",
    413: "the Hub takes no file or repository as large: ask for more room, or push less",
}
"""By status; of 429 and from 500 on, the same request may succeed later."""


def check_hub_library(what: str) -> None:
    """Raises: ConfigError where `huggingface_hub` is missing."""
    if find_spec("huggingface_hub") is None:
        raise ConfigError(
            f"got no huggingface_hub, expected it for {what} on the Hub",
            "pip install 'ettin-data[hub]'",
        )


@contextmanager
def explain_hub(where: str, kind: type[InputError | OutputError]) -> Iterator[None]:
    """Raise what the Hub or the way to it answers as an error of ours.

    Raises: `kind` for what the Hub refuses; ConfigError for a malformed name; NetworkError.
    """
    from httpx import TransportError
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    known = (HfHubHTTPError, HFValidationError, TransportError, ConnectionError)
    try:
        yield
    except PipelineError:
        raise
    except Exception as error:
        # An upload raises a RuntimeError from what went wrong.
        cause = next((one for one in causes_of(error) if isinstance(one, known)), None)
        if cause is None:
            raise
        reason = " ".join(str(cause).split())[:300]
        if isinstance(cause, HFValidationError):
            raise ConfigError(f"{where}: {reason}") from error
        response = getattr(cause, "response", None)
        if response is None:
            message = f"{where}: the Hub cannot be reached: {reason}"
            raise NetworkError(message, _AGAIN) from error
        status = response.status_code
        if status == 429 or status >= 500:
            message = f"{where}: the Hub answers {status}: {reason}"
            raise NetworkError(message, _AGAIN) from error
        raise kind(f"{where}: the Hub refuses: {reason}", _HINTS.get(status)) from error
