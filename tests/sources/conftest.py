"""What tests of pulls share: servers, a lock, a destination; and a tokenizer for shards of ids."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.mds_shards import SENTENCES
from support.pulls import CONTENTS, at_home, mixture_of, quiet
from support.source_server import Server, serve
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from pipeline.sources.lock.create import make_lock
from pipeline.sources.lock.lock import Lock


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what the server has, and the mixture."""
    return tmp_path_factory.mktemp("pull") / "there"


@pytest.fixture
def folder(there: Path) -> Path:
    """What the server has, and the mixture's folder; a test may change it."""
    for name, content in CONTENTS.items():
        path = there / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)
    return there


@pytest.fixture(scope="module")
def server_process(there: Path) -> Iterator[Server]:
    """One server for all tests that need no other settings."""
    with serve({"org/a": there / "a"}, files={"dolma": there / "dolma"}) as server:
        yield server


@pytest.fixture
def server(server_process: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Server:
    """The server without faults; the endpoint of the Hub, which knows no token."""
    server_process.set_faults([])
    at_home(monkeypatch, server_process, tmp_path)
    return server_process


@pytest.fixture
def locked(server: Server, folder: Path) -> Lock:
    """The lock of what the server has; its requests are not counted."""
    made = make_lock(mixture_of(server, folder), quiet)
    server.reset()
    return made


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    """Where pulled files go."""
    return tmp_path / "raw"


@pytest.fixture(scope="module")
def bpe(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tokenizer, Path]:
    """A small tokenizer of Llama 3's kind: byte-level BPE with special tokens at both ends."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(SENTENCES * 4, trainer)
    specials = ["<|begin_of_text|>", "<|end_of_text|>"]
    tokenizer.add_special_tokens([AddedToken(special, special=True) for special in specials])
    begin, end = (tokenizer.token_to_id(special) for special in specials)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{specials[0]} $A {specials[1]}",
        special_tokens=[(specials[0], begin), (specials[1], end)],
    )
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    tokenizer.save(str(path))
    return tokenizer, path
