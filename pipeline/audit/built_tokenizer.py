"""The tokenizer that an output was built with: its own copy, or what its mixture named."""

from pathlib import Path

from pipeline.core.errors import MismatchError
from pipeline.dataset import TOKENIZER, Manifest
from pipeline.stages.tokenizer import Tokenizer, load_tokenizer


def load_built_tokenizer(
    folder: Path, manifest: Manifest, *, add_prefix_space: bool, path: str | None = None
) -> Tokenizer:
    """Load the tokenizer of the output in a folder, with a space before segments or without one.

    path: another copy of its `tokenizer.json`.

    Raises: as `load_tokenizer`; MismatchError when it is not the one that the manifest names.
    """
    name = manifest.tokenizer.name
    revision = manifest.mixture.declaration["tokenizer"]["revision"]
    if path is not None:
        name, revision = path, None
    elif TOKENIZER in manifest.files:
        name, revision = str(folder / TOKENIZER), None
    tokenizer = load_tokenizer(name, add_prefix_space=add_prefix_space, revision=revision)
    if tokenizer.digest != manifest.tokenizer.sha256:
        raise MismatchError(
            f"{name}: sha256 is {tokenizer.digest}, the manifest says {manifest.tokenizer.sha256}",
            "name the tokenizer.json that the output was built with",
        )
    return tokenizer
