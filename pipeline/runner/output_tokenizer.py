"""What an output needs of its tokenizer: special tokens that fit the mixture, and a copy of it."""

from functools import lru_cache
from pathlib import Path

from pipeline.config import ChunkSpec, OrderSpec, TokenizerSpec
from pipeline.core.digest import FileDigest
from pipeline.core.errors import ConfigError
from pipeline.core.files import publish
from pipeline.dataset import TOKENIZER, State
from pipeline.stages.tokenizer import EMBEDDED, NO_TOKEN, Tokenizer, load_tokenizer


@lru_cache(maxsize=1)
def cached_tokenizer(spec: TokenizerSpec, folder: Path) -> Tokenizer:
    """Load a tokenizer; once in a process, so that no task reads its file or asks the Hub again."""
    return load_tokenizer(
        spec.name, add_prefix_space=spec.add_prefix_space, revision=spec.revision, folder=folder
    )


def check_special_tokens(tokenizer: Tokenizer, order: OrderSpec, chunk: ChunkSpec | None) -> None:
    """Insist on the special tokens that a view and an algorithm put into rows.

    Raises: ConfigError when the tokenizer's template does not add them.
    """
    if chunk is not None and chunk.algorithm != "whole-v1" and not tokenizer.is_framed:
        raise ConfigError(
            f"chunk.algorithm: got {chunk.algorithm} with {tokenizer.name}, whose template does not"
            " add one token on each side of a document, as the published algorithms need it",
            "set chunk.algorithm to whole-v1, without min_size, skip_below and seed",
        )
    if order.view == "encoder" and tokenizer.sep_id == NO_TOKEN:
        raise ConfigError(
            f"order.view: got encoder with {tokenizer.name}, whose template adds no token after a"
            " document, with which this view ends each row",
            "set order.view to decoder or stored",
        )


def copy_tokenizer(state: State, tokenizer: Tokenizer) -> dict[str, FileDigest]:
    """Put the tokenizer into an output, so that it is fed and traced anywhere; return the file.

    The embedded one is not copied: the package has it.
    """
    if tokenizer.name == EMBEDDED:
        return {}
    path = state.out / TOKENIZER
    with publish(path, state.scratch) as temporary:
        temporary.write_bytes(tokenizer.data)
    return {TOKENIZER: FileDigest.of(path)}
