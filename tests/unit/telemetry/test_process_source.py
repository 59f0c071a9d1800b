from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.telemetry.listener import listener
from harness.telemetry.process import Process
from harness.telemetry.source import Engine, Missing

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def process(
    proc: Path, pid: int, group: int, cpu: tuple[int, int, int, int], pages: int, name: str = "x", parent: int = 1
) -> None:
    fields = [
        "S",
        str(parent),
        str(group),
        str(group),
        *["0"] * 7,
        *(str(ticks) for ticks in cpu),
        *["0"] * 6,
        str(pages),
        "0",
    ]
    (proc / str(pid)).mkdir()
    (proc / str(pid) / "stat").write_text(f"{pid} ({name}) {' '.join(fields)}\n")


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    (tmp_path / "stat").write_text("cpu  100 10 50 800 20 3 7 40 5 6\ncpu0 1 2 3\n")
    (tmp_path / "meminfo").write_text("MemTotal:       1000 kB\nMemFree: 1 kB\nMemAvailable:    400 kB\nHugePages: x\n")
    process(tmp_path, 40, 40, (300, 100, 0, 0), 10, name="vllm (main) )")
    process(tmp_path, 41, 40, (50, 0, 20, 10), 5)
    process(tmp_path, 45, 45, (7, 0, 0, 0), 2, parent=41)  # a daemon: in a group of its own, yet the engine's
    process(tmp_path, 46, 45, (3, 0, 0, 0), 1, parent=45)
    process(tmp_path, 50, 50, (999, 0, 0, 0), 99)
    (tmp_path / "60").mkdir()  # ended between listing and reading
    return tmp_path


def test_the_engines_group_and_the_machine(proc: Path, wanted: Any) -> None:
    source = Process(wanted(), Engine(pid=40), proc)
    source.open()
    assert source.sample().values == pytest.approx(
        {
            "host_busy_s": 170 / TICKS, "host_steal_s": 40 / TICKS, "host_all_s": 1030 / TICKS,
            "host_memory_bytes": 600 * 1024,
            "engine_cpu_s": 490 / TICKS, "engine_rss_bytes": 18 * PAGE, "engine_processes": 4,
        }
    )  # fmt: skip
    source.close()


def test_an_engine_that_is_gone_or_not_ours_has_no_figures(proc: Path, wanted: Any) -> None:
    for pid in (None, 77):
        values = Process(wanted(), Engine(pid=pid), proc).sample().values
        assert not [name for name in values if name.startswith("engine")] and "host_busy_s" in values
    (proc / "meminfo").unlink()
    assert "host_memory_bytes" not in Process(wanted(), Engine(), proc).sample().values


def test_where_there_is_no_proc(tmp_path: Path, wanted: Any) -> None:
    with pytest.raises(Missing) as told:
        Process(wanted(), Engine(), tmp_path).open()
    assert told.value.severity is None


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="no /proc")
def test_a_real_group_of_processes(wanted: Any) -> None:
    command = "import subprocess,sys; sum(range(10**6)); p=subprocess.Popen(['cat']); print(flush=True); p.wait()"
    with subprocess.Popen(
        [sys.executable, "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as child:
        assert child.stdout is not None and child.stdout.readline() == b"\n"
        values = Process(wanted(), Engine(pid=child.pid)).sample().values
        child.communicate()
    assert values["engine_processes"] == 2
    assert values["engine_cpu_s"] > 0 and values["engine_rss_bytes"] > 1 << 20
    assert values["host_all_s"] > values["host_busy_s"] > 0


TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 7001 1
   1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1000        0 7002 1
   2: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 7003 1
"""


def opened(proc: Path, pid: int, *sockets: int, name: str = "python") -> None:
    (proc / str(pid) / "fd").mkdir(parents=True)
    (proc / str(pid) / "comm").write_text(f"{name}\n")
    for number, inode in enumerate(sockets):
        (proc / str(pid) / "fd" / str(number)).symlink_to(f"socket:[{inode}]")


def test_who_listens(tmp_path: Path) -> None:
    """8080 is 1F90; of its sockets one is a connection, which says nothing. 61 has inherited the socket of 60."""
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "tcp").write_text(TCP)
    opened(tmp_path, 61, 7001)
    opened(tmp_path, 60, 3, 7001)
    opened(tmp_path, 59, 7002)
    (tmp_path / "70").mkdir()  # somebody else's: its files cannot be seen
    assert listener(8080, tmp_path) == 60
    assert listener(8081, tmp_path) is None  # 7003 is held by nobody that we see
    assert listener(8082, tmp_path) is None
    opened(tmp_path, 62, 7003, name="docker-proxy")
    assert listener(8081, tmp_path) is None  # its memory is not the engine's


def test_an_engine_on_this_machine_that_somebody_else_started(proc: Path, wanted: Any) -> None:
    (proc / "net").mkdir()
    (proc / "net" / "tcp6").write_text(TCP)
    opened(proc, 41, 7001)
    source = Process(wanted(), Engine(url="http://localhost:8080/v1"), proc)
    source.open()
    assert source.sample().values["engine_rss_bytes"] == 8 * PAGE  # 41 and what it has started, not its parent
    for elsewhere in (
        Engine(url="http://10.0.0.1:8080/v1"),
        Engine(url="http://localhost:8080/v1", simulated=True),
        Engine(url="http://localhost:99999/v1"),
        Engine(url="http://localhost/v1"),
    ):
        source = Process(wanted(), elsewhere, proc)
        source.open()
        assert "engine_rss_bytes" not in source.sample().values


def test_what_runs_us_is_no_engine(proc: Path, wanted: Any) -> None:
    (proc / "net").mkdir()
    (proc / "net" / "tcp").write_text(TCP)
    opened(proc, 50, 7001)
    process(proc, os.getpid(), 50, (1, 0, 0, 0), 1, parent=50)
    source = Process(wanted(), Engine(url="http://127.0.0.1:8080/v1"), proc)
    source.open()
    assert "engine_rss_bytes" not in source.sample().values


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="no /proc/net/tcp")
def test_a_real_listener() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert listener(server.getsockname()[1], Path("/proc")) == os.getpid()
