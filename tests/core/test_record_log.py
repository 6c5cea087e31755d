"""Records that many processes save: found by name, the last one first, and never a damaged one."""

import errno
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import QUICK

from pipeline.core.errors import OutputError
from pipeline.core.files import writing
from pipeline.core.record_log import RecordLog, open_log

names = st.text(max_size=8)
records = st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=9), max_size=3)


@QUICK
@given(saved=st.lists(st.tuples(st.integers(0, 2), names, records), max_size=12))
def test_what_any_process_saved_is_found_by_all(
    tmp_path_factory: pytest.TempPathFactory, saved: list[tuple[int, str, dict[str, object]]]
) -> None:
    folder = tmp_path_factory.mktemp("records")
    logs = [RecordLog(folder) for _ in range(3)]
    for number, (writer, name, record) in enumerate(saved, 1):
        logs[writer].add({name: record}.items())
        expected = [one for _, named, one in reversed(saved[:number]) if named == name]
        assert all(list(log.find(name)) == expected for log in logs)
    for name in {name for _, name, _ in saved}:
        assert list(RecordLog(folder).find(name)) == list(logs[0].find(name))
    assert len(list(folder.iterdir())) == len({writer for writer, *_ in saved})


def test_many_records_are_saved_at_once(tmp_path: Path) -> None:
    log = RecordLog(tmp_path / "records")
    assert list(log.find("a/1")) == []
    assert not log.has_below("a")
    log.add({"a/1": 1, "b/2": 2}.items())
    assert [list(log.find(name)) for name in ("a/1", "b/2", "a", "")] == [[1], [2], [], []]
    assert log.has_below("a")
    assert not log.has_below("c")


def test_each_record_is_written_before_many_more_are_made(tmp_path: Path) -> None:
    log = RecordLog(tmp_path)
    sizes = []

    def made() -> Iterator[tuple[str, object]]:
        for number in range(4):
            sizes.append(log.own.stat().st_size)
            yield f"{number}", "x" * 100_000

    log.add(made())
    assert all(one < other for one, other in pairwise(sizes))


def test_a_log_that_is_cut_off_anywhere_keeps_its_whole_records(tmp_path: Path) -> None:
    log = RecordLog(tmp_path)
    for number in range(3):
        log.add({"name": number}.items())
    whole = log.own.read_bytes()
    # After the digest and the name comes the end of the line.
    ends = [place + 1 for place, byte in enumerate(whole) if byte == 10 and place][::2]
    for size in reversed(range(len(whole))):
        log.own.write_bytes(whole[:size])
        kept = sum(end <= size for end in ends)
        expected = [*reversed(range(kept))]
        # Also by a process that has read it before, and by one that goes on with it.
        assert list(log.find("name")) == list(RecordLog(tmp_path).find("name")) == expected
    log.own.write_bytes(whole[:-5])
    log.add({"name": "next"}.items())
    assert list(log.find("name")) == list(RecordLog(tmp_path).find("name")) == ["next", 1, 0]


def test_no_flipped_bit_goes_unseen(tmp_path: Path) -> None:
    log = RecordLog(tmp_path)
    log.add({"name": {"count": 12}}.items())
    whole = log.own.read_bytes()
    for place in range(len(whole)):
        for bit in range(8):
            flipped = whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :]
            log.own.write_bytes(flipped)
            for reader in (log, RecordLog(tmp_path)):
                assert list(reader.find("name")) in ([], [{"count": 12}]), (place, bit)
                assert list(reader.find("nam`")) == []


def test_records_of_a_build_that_ended_are_forgotten(tmp_path: Path) -> None:
    folder = tmp_path / "records"
    log = open_log(folder)
    assert open_log(folder) is log
    log.add({"name": 1}.items())
    assert list(log.find("name")) == [1]
    log.own.unlink()
    folder.rmdir()
    assert list(log.find("name")) == []
    log.add({"name": 2}.items())
    assert list(log.find("name")) == [2]
    log.own.unlink()
    # Also where the next build saves more before it looks for any.
    log.add({"name": "third"}.items())
    log.add({"name": 4}.items())
    assert list(log.find("name")) == [4, "third"]


def test_files_that_are_no_logs_are_left_alone(tmp_path: Path) -> None:
    """Such as the records of an earlier version, a file each."""
    (tmp_path / "partitions").mkdir()
    (tmp_path / "partitions" / "a.json").write_text('{"record": 1}')
    (tmp_path / "b.json").write_text('{"record": 1}')
    (tmp_path / "folder.log").mkdir()
    (tmp_path / "strange.log").write_bytes(b"\0\xff\n[]\t1\t[]\t2\na\t1\t[]\tb\n\t\t\t\n")
    log = RecordLog(tmp_path)
    assert [list(log.find(name)) for name in ("a", "b", "partitions/a", "")] == [[]] * 4


def test_threads_save_and_find_side_by_side(tmp_path: Path) -> None:
    log = RecordLog(tmp_path)

    def work(number: int) -> None:
        for count in range(20):
            log.add({f"{number}": count}.items())
            assert next(log.find(f"{number}")) == count

    threads = [threading.Thread(target=work, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(list(log.find(f"{n}")) == [*reversed(range(20))] for n in range(4))


def test_a_disk_that_is_full_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(OutputError, match="the disk is full"), writing(tmp_path):
        RecordLog(tmp_path).add({"name": 1}.items())
