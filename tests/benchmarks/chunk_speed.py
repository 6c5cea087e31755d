"""Compare chunkers that encode text again, as a stage, with their original form on one core:

    python -m tests.benchmarks.chunk_speed FOLDER

Enters: the corpus of `corpus`, tokenised once beforehand. Leaves: millions of ids a second and
ratios. Method: both get the same ids; a first part warms the caches up, then both take turns
(A B A B), each turn on a part that neither has seen; every chunk of both is compared.

The original form is written from the published scripts: chunk by chunk, it decodes with the
`tokenizers` library, cleans up spaces as `transformers` does and encodes again;
`ettin-reencode-v1` first looks at the first character, and cuts. The layers that `transformers`
puts around this are left out.
"""

import argparse
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

from tokenizers import Tokenizer as Library

from pipeline.config import ChunkSpec
from pipeline.core.ragged import Rows
from pipeline.sources.readers.file_reader import BLOCK_BYTES
from pipeline.stages.chunking import make_chunker
from pipeline.stages.tokenizer import Tokenizer, load_tokenizer, read_json
from pipeline.stages.tokenizer.library import make_reference
from tests.benchmarks import corpus

# With the prefix space that the flag of the scripts asks for, and as the released rows were made.
PREFIX_SPACE = {"ettin-reencode-v1": True, "ettin-retokenize-v1": False}
SIZES = (1024, 8192)


def main() -> None:
    """Parse, tokenise, time, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    corpus.add_arguments(parser)
    parser.add_argument("--part-megabytes", type=float, default=20, help="of text for each turn")
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    corpus.ensure(options.corpus, options.megabytes)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

    print("| algorithm | text | size | original, M ids/s | ours, M ids/s | median | ratios |")
    print("|---|---|---|---|---|---|---|")
    for algorithm, prefix in PREFIX_SPACE.items():
        tokenizer = load_tokenizer("modernbert", add_prefix_space=prefix)
        library = make_reference("modernbert", read_json("modernbert"), add_prefix_space=prefix)
        for kind in corpus.KINDS:
            num_parts = options.repetitions + 1
            parts = [
                [tokenizer.encode(block) for block in _blocks(texts)]
                for texts in _parts(options.corpus, kind, options.part_megabytes, num_parts)
            ]
            for size in SIZES:
                spec = ChunkSpec(
                    algorithm=algorithm,  # type: ignore[arg-type]
                    size=size,
                    min_size=512,
                    skip_below=128,
                    seed=42,
                )
                _compare(kind, spec, parts, tokenizer, library)


def _compare(
    kind: str,
    spec: ChunkSpec,
    parts: list[list[Rows]],
    tokenizer: Tokenizer,
    library: Library,
) -> None:
    original, ours, ratios = [], [], []
    for number, blocks in enumerate(parts):
        num_ids = sum(block.values.size for block in blocks)
        documents = [ids.tolist() for block in blocks for ids in block]
        started = time.perf_counter()
        expected = list(original_chunks(library, documents, spec))
        middle = time.perf_counter()
        chunker = make_chunker(spec, tokenizer)
        got = [chunker.chunk(block) for block in blocks]
        stopped = time.perf_counter()
        same_ids = np.array_equal(
            np.concatenate(expected), np.concatenate([chunks.rows.values for chunks in got])
        )
        same_lengths = np.array_equal(
            [len(chunk) for chunk in expected],
            np.concatenate([chunks.rows.lengths() for chunks in got]),
        )
        if not (same_ids and same_lengths):
            raise SystemExit(f"{spec.algorithm}, {kind} at {spec.size}: chunks differ")
        if number:  # The first part warms up.
            original.append(num_ids / (middle - started) / 1e6)
            ours.append(num_ids / (stopped - middle) / 1e6)
            ratios.append((middle - started) / (stopped - middle))
    listed = " ".join(f"{ratio:.0f}" for ratio in ratios)
    print(
        f"| {spec.algorithm} | {kind} | {spec.size} | {statistics.median(original):.2f} "
        f"| {statistics.median(ours):.1f} | **{statistics.median(ratios):.0f}** | {listed} |",
        flush=True,
    )


def original_chunks(
    library: Library, documents: Sequence[list[int]], spec: ChunkSpec
) -> Iterator[list[int]]:
    """Chunk as the published scripts do, one document after the other."""
    assert spec.min_size is not None
    assert spec.skip_below is not None
    random = np.random.RandomState(spec.seed)
    length = spec.piece_size
    # One script changes a chunk before it lends, the other all chunks in the end.
    reencodes = spec.algorithm == "ettin-reencode-v1"
    for ids in documents:
        stored: list[list[int]] = []
        for start in range(0, len(ids), length):
            piece = ids[start : start + length]
            if len(piece) < spec.skip_below and start:
                continue
            if len(piece) < spec.min_size and stored:
                borrowed = int(random.randint(0, length - len(piece)))
                if borrowed:
                    before = stored[-1]
                    piece = before[-borrowed:] + piece
                    rest = before[:-borrowed]
                    stored[-1] = _reencode(library, rest, spec.size) if reencodes else rest
            stored.append(_reencode(library, piece, spec.size) if reencodes else piece)
        yield from stored if reencodes else (_retokenize(library, chunk) for chunk in stored)


def _reencode(library: Library, ids: list[int], size: int) -> list[int]:
    cls_id = library.token_to_id("[CLS]")
    text = _clean_up(library.decode(ids, skip_special_tokens=True))
    if text[0] != " ":
        ids = library.encode(text).ids[:size]
    return ids if ids[0] == cls_id else [cls_id, *ids]


def _retokenize(library: Library, ids: list[int]) -> list[int]:
    encoded: list[int] = library.encode(_clean_up(library.decode(ids))).ids
    return encoded


def _clean_up(text: str) -> str:
    return (
        text.replace(" .", ".")
        .replace(" ?", "?")
        .replace(" !", "!")
        .replace(" ,", ",")
        .replace(" ' ", "'")
        .replace(" n't", "n't")
        .replace(" 'm", "'m")
        .replace(" 's", "'s")
        .replace(" 've", "'ve")
        .replace(" 're", "'re")
    )


def _parts(folder: Path, kind: str, size: float, count: int) -> Iterator[list[str]]:
    """Yield consecutive parts of the corpus, each of about `size` megabytes."""
    part: list[str] = []
    rest = size * 1e6
    for path in corpus.files(folder, kind):
        for text in corpus.read(path):
            part.append(text)
            rest -= len(text.encode())
            if rest <= 0:
                yield part
                part, rest, count = [], size * 1e6, count - 1
                if count == 0:
                    return


def _blocks(texts: list[str]) -> Iterator[list[str]]:
    """Yield blocks of documents as the build reads them."""
    block: list[str] = []
    size = 0
    for text in texts:
        block.append(text)
        size += len(text)
        if size >= BLOCK_BYTES:
            yield block
            block, size = [], 0
    if block:
        yield block


if __name__ == "__main__":
    main()
