"""The signature of a bundle: made with a local key, verified offline.

It is a signature of `model-signing`, over every file but itself, so its own command verifies it
too: `model_signing verify key FOLDER --signature FOLDER/bundle.sig --public_key KEY`.

Source: OpenSSF Model Signing 1.0, https://github.com/ossf/model-signing-spec
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from pipeline.core.errors import ConfigError, MismatchError

SIGNATURE: Final = "bundle.sig"
ATTRIBUTES: Final = ".gitattributes"
"""The Hub makes this file in each repository."""
CLIENT: Final = ".cache/huggingface"
"""The Hub's client keeps its records here, below a folder that it downloads to."""
_KEYS: Final = (
    "openssl ecparam -name prime256v1 -genkey -noout -out KEY.pem makes a private key, openssl"
    " ec -in KEY.pem -pubout -out KEY.pub its public key"
)


def load_signer(private_key: Path) -> Any:
    """Return what signs with a private key. Raises: ConfigError for what is no such key."""
    from model_signing import hashing, signing

    with _readable(private_key, "a private key of an elliptic curve in PEM, without a password"):
        config = signing.Config().use_elliptic_key_signer(private_key=private_key)
    return config.set_hashing_config(_signed_files(hashing.Config()))


def sign_bundle(folder: Path, signer: Any) -> None:
    """Write the signature of a folder into it. `signer` is what `load_signer` returns."""
    signer.sign(folder, folder / SIGNATURE)


def check_signature(folder: Path, public_key: Path) -> None:
    """Raises: ConfigError for what is no public key; MismatchError for any other signature."""
    from cryptography.exceptions import InvalidSignature
    from model_signing import hashing, verifying

    with _readable(public_key, "a public key of an elliptic curve in PEM"):
        config = verifying.Config().use_elliptic_key_verifier(public_key=public_key)
    config.set_hashing_config(_signed_files(hashing.Config()))
    try:
        config.verify(folder.resolve(), folder / SIGNATURE)
    except (InvalidSignature, ValueError, TypeError, LookupError, AttributeError, OSError) as error:
        raise MismatchError(
            f"{SIGNATURE}: is no signature of these files by {public_key}: {_reason(error)}",
            "get bundle and key again from who signed it",
        ) from error


def _signed_files(config: Any) -> Any:
    """Let a signature cover every file but itself and those of the Hub, which come later."""
    # By default it ignores all that is named after git, too.
    return config.set_ignored_paths(paths=[SIGNATURE, ATTRIBUTES, CLIENT], ignore_git_paths=False)


def _reason(error: Exception) -> str:
    """Return what is wrong, without the digests that are printed as bytes."""
    text = " ".join(str(error).split())
    if names := re.findall(r"Hash mismatch for '([^']*)'", text):
        return f"it is of other bytes of {', '.join(names[:3])}"
    return text[:300] or "it was made with another key, or is damaged"


@contextmanager
def _readable(path: Path, expected: str) -> Iterator[None]:
    """Explain why a key cannot be used; what it holds is not shown."""
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}, expected {expected}"
        ) from error
    except Exception as error:
        # Of each kind of key, the libraries raise another error.
        raise ConfigError(
            f"{path}: got another kind of file, expected {expected}", _KEYS
        ) from error
