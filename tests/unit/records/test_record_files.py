"""Records survive whatever happens to a worker: writer, reader, folder, phases."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from harness.errors import ResultsError
from harness.records.folder import RunFolder, write_whole
from harness.records.manifest import Manifest
from harness.records.phases import rewrite_phases
from harness.records.reader import Damage, read_blocks, read_records
from harness.records.record import Phase, Record, encode_record
from harness.records.writer import FLUSH_BYTES, RecordWriter


def record(number: int, phase: Phase = "measure") -> Record:
    return Record(id=f"r{number}", session=f"s{number:07d}", node="turn-1", phase=phase)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    writer = RecordWriter(tmp_path / "records-0.jsonl")
    records = [record(number) for number in range(100)]
    for one in records[:50]:
        writer.add(one)
    for one in records[50:]:
        writer.add(encode_record(one))
    writer.close()
    writer.close()
    assert writer.records == 100
    assert writer.longest_write_s > 0
    assert list(read_records([writer.path])) == records


def test_flush_waits_for_time_or_size(tmp_path: Path) -> None:
    writer = RecordWriter(tmp_path / "records-0.jsonl")
    writer.add(record(1))
    writer.maybe_flush(0)
    writer.maybe_flush(499_999_999)
    assert writer.path.stat().st_size == 0
    writer.maybe_flush(500_000_000)
    assert writer.path.stat().st_size > 0
    before = writer.path.stat().st_size
    writer.add(b" " * FLUSH_BYTES)
    writer.maybe_flush(500_000_001)
    assert writer.path.stat().st_size > before + FLUSH_BYTES
    writer.close()


def test_a_killed_writer_loses_at_most_its_last_line(tmp_path: Path) -> None:
    """A process that writes as fast as it can is killed in the middle of it."""
    path = tmp_path / "records-0.jsonl"
    code = (
        "import sys; from pathlib import Path\n"
        "from harness.records.record import Record; from harness.records.writer import RecordWriter\n"
        "w = RecordWriter(Path(sys.argv[1])); n = 0\n"
        "while True:\n"
        "    w.add(Record(id=f'r{n}', session='s', node='n', error_detail='x' * 300)); n += 1\n"
        "    if n % 100 == 0: w.flush(n); print(n, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        told = [int(child.stdout.readline()) for _ in range(20)][-1]
        os.kill(child.pid, signal.SIGKILL)
    damage = Damage()
    ids = [one.id for one in read_records([path], damage)]
    assert ids == [f"r{n}" for n in range(len(ids))]
    assert len(ids) >= told
    assert damage.garbage == 0 and damage.torn <= 1


def test_writer_explains_where_it_cannot_write(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="No such file"):
        RecordWriter(tmp_path / "missing" / "records-0.jsonl")


def test_a_full_disk_is_told_and_nothing_is_forgotten() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    writer = RecordWriter(Path("/dev/full"))
    writer.add(record(1))
    with pytest.raises(ResultsError, match="No space left"):
        writer.flush(0)
    with pytest.raises(ResultsError, match="No space left"):
        writer.close()


def test_torn_and_garbage_lines_are_skipped_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "records-0.jsonl"
    good = encode_record(record(1))
    path.write_bytes(good + b"\nnot json\n\n" + good + b"\n{}\n\xff\xfe\n" + good + b"\n" + good[:40])
    damage = Damage()
    assert len(list(read_records([path], damage))) == 3
    assert damage.torn == 1
    assert damage.garbage == 3
    assert damage.places == ["records-0.jsonl:2", "records-0.jsonl:5", "records-0.jsonl:6"]


def test_a_last_line_without_newline_counts_when_whole(tmp_path: Path) -> None:
    path = tmp_path / "records-0.jsonl"
    path.write_bytes(encode_record(record(1)))
    damage = Damage()
    assert len(list(read_records([path], damage))) == 1
    assert damage.torn == 0


def test_unknown_fields_are_tolerated_and_newer_schemas_refused(tmp_path: Path) -> None:
    path = tmp_path / "records-0.jsonl"
    fields = msgspec.json.decode(encode_record(record(1)))
    path.write_bytes(msgspec.json.encode({**fields, "invented": 1}) + b"\n")
    assert next(iter(read_records([path]))).id == "r1"
    path.write_bytes(msgspec.json.encode({**fields, "schema": 2}) + b"\n")
    with pytest.raises(ResultsError, match="schema 2"):
        list(read_records([path]))


def test_large_and_packed_files_are_read_in_blocks(tmp_path: Path) -> None:
    lines = b"".join(encode_record(record(number)) + b"\n" for number in range(8000))
    assert len(lines) > 2 << 20
    path = tmp_path / "records-0.jsonl"
    path.write_bytes(lines)
    packed = tmp_path / "records-1.jsonl.gz"
    packed.write_bytes(gzip.compress(lines))
    blocks = list(read_blocks([path, packed]))
    assert len(blocks) > 4
    assert [one.id for block in blocks for one in block] == [f"r{n}" for n in range(8000)] * 2


def test_a_cut_packed_file_is_an_error(tmp_path: Path) -> None:
    packed = tmp_path / "records-0.jsonl.gz"
    packed.write_bytes(gzip.compress(encode_record(record(1)) + b"\n")[:-12])
    with pytest.raises(ResultsError, match=r"records-0\.jsonl\.gz"):
        list(read_records([packed]))
    with pytest.raises(ResultsError, match="No such file"):
        list(read_records([tmp_path / "none.jsonl"]))


def manifest(folder: RunFolder) -> Manifest:
    return Manifest(run_id=folder.id, name="n", seed=1, started_at="2026-01-01T00:00:00Z")


def test_a_folder_is_named_by_time_name_and_chance(tmp_path: Path) -> None:
    at = datetime(2026, 11, 21, 8, 34, tzinfo=UTC)
    first = RunFolder.create(tmp_path / "results", "agents", at=at)
    second = RunFolder.create(tmp_path / "results", "agents", at=at)
    assert first.id.startswith("20261121T083400Z-agents-")
    assert len(first.id.rpartition("-")[2]) == 4
    assert first.id != second.id


def test_a_folder_is_opened_by_any_of_its_files(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "run")
    with pytest.raises(ResultsError, match="no run at"):
        RunFolder.open(folder.path)
    folder.write_manifest(manifest(folder))
    for path in (folder.path, folder.manifest):
        assert RunFolder.open(path).read_manifest() == manifest(folder)
    with pytest.raises(ResultsError, match="no such file"):
        RunFolder.open(tmp_path / "nothing")


def test_records_are_listed_by_worker_number(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "run")
    for name in ("records-10.jsonl", "records-2.jsonl", "records-1.jsonl.gz", "records-x.jsonl", "other.jsonl"):
        (folder.path / name).touch()
    assert [path.name for path in folder.records()] == ["records-1.jsonl.gz", "records-2.jsonl", "records-10.jsonl"]
    assert folder.records_of(2) == folder.records()[1]


def test_an_unwritable_parent_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ResultsError, match="cannot make a results folder") as caught:
        RunFolder.create(tmp_path / "file", "run")
    assert "--out" in caught.value.remedy


def test_damaged_or_newer_manifests_are_explained(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "run")
    with pytest.raises(ResultsError, match="cannot read"):
        folder.read_manifest()
    folder.manifest.write_text("{")
    with pytest.raises(ResultsError, match="damaged"):
        folder.read_manifest()
    newer = manifest(folder)
    newer.schema = 99
    folder.write_manifest(newer)
    with pytest.raises(ResultsError, match="schema 99"):
        folder.read_manifest()


def test_whole_files_leave_no_draft_behind(tmp_path: Path) -> None:
    write_whole(tmp_path / "a.json", b"1")
    write_whole(tmp_path / "a.json", b"2")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.json", b"2")]
    with pytest.raises(ResultsError, match="cannot write"):
        write_whole(tmp_path / "missing" / "a.json", b"1")
    (tmp_path / "taken").mkdir()
    with pytest.raises(ResultsError, match="cannot write"):
        write_whole(tmp_path / "taken", b"1")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "taken"]


def test_phases_are_rewritten_only_where_they_differ(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "run")
    odd = msgspec.json.encode({**msgspec.json.decode(encode_record(record(1))), "invented": [1]})
    folder.records_of(0).write_bytes(encode_record(record(0)) + b"\ngarbage\n" + odd + b"\n")
    packed = folder.path / "records-1.jsonl.gz"
    packed.write_bytes(gzip.compress(encode_record(record(2)) + b"\n"))
    folder.records_of(2).write_bytes(encode_record(record(3)) + b"\n" + encode_record(record(4))[:30])
    untouched = folder.records_of(2).stat().st_ino
    phases: list[Phase] = ["measure", "drain", "warmup", "measure"]
    assert rewrite_phases(folder, iter(phases)) == 2
    lines = folder.records_of(0).read_bytes().splitlines()
    assert lines[0] == encode_record(record(0)) and lines[1] == b"garbage"
    assert msgspec.json.decode(lines[2])["invented"] == [1]
    assert [one.phase for one in read_records(folder.records())] == phases
    assert folder.records_of(2).stat().st_ino == untouched
    assert rewrite_phases(folder, iter(phases)) == 0
