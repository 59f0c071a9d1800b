"""Servers that harness starts: found, waited for, told of, and ended with all that they started."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.backends import launch
from harness.errors import ConfigError, TargetError

SERVER = """
import http.server, os, subprocess, sys, time
print("hello from the server", flush=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        status = 200 if self.path == "/health" else 503
        self.send_response(status)
        self.end_headers()
        if self.path == "/die":
            print("my last words", flush=True)
            os._exit(7)
    def log_message(self, *_): pass
children = [subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])] if "child" in sys.argv else []
print("child", *(child.pid for child in children), flush=True)
if "stubborn" in sys.argv:
    import signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def command(port: int, *words: str) -> list[str]:
    return [sys.executable, "-c", SERVER, str(port), *words]


def url(port: int, page: str = "/health") -> str:
    return f"http://127.0.0.1:{port}{page}"


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_server_and_its_children_end_with_the_block(tmp_path: Path) -> None:
    port, log = launch.free_port(), tmp_path / "engine.log"
    with launch.serve("it", command(port, "child"), health=url(port), timeout_s=60, env={}, log=log) as server:
        assert server.ended() is None
        assert server.pid is not None and alive(server.pid)
        while "child " not in log.read_text():
            time.sleep(0.01)
        child = int(log.read_text().split("child ")[1].split()[0])
        assert alive(child)
        assert server.last_words()[0] == "hello from the server"
    assert not alive(server.pid)
    assert not alive(child)


def test_without_a_log_it_is_kept_nowhere() -> None:
    port = launch.free_port()
    with launch.serve("it", command(port), health=url(port), timeout_s=60, env={}) as server:
        assert server.log.exists()
    assert not server.log.exists()


def test_one_that_dies_is_told_of(tmp_path: Path) -> None:
    port, log = launch.free_port(), tmp_path / "engine.log"
    with launch.serve("it", command(port), health=url(port), timeout_s=60, env={}, log=log) as server:
        launch._status(url(port, "/die"))
        while server.ended() is None:
            time.sleep(0.01)
        assert server.ended() == "exit code 7"
        assert server.last_words()[-1] == "my last words"


def test_one_that_does_not_start(tmp_path: Path) -> None:
    words = [sys.executable, "-c", "import sys; sys.exit('no such model')"]
    with (
        pytest.raises(TargetError) as told,
        launch.serve("it", words, health=url(1), timeout_s=60, env={}, log=tmp_path / "engine.log"),
    ):
        pass
    assert "it did not start: exit code 1" in told.value.message
    assert "no such model" in told.value.message


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    with (
        pytest.raises(TargetError) as told,
        launch.serve("it", ["/no/such/server"], health=url(1), timeout_s=60, env={}, log=tmp_path / "engine.log"),
    ):
        pass
    assert "could not be started" in told.value.message
    assert "No such file" in told.value.message


def test_one_that_never_gets_healthy(tmp_path: Path) -> None:
    port = launch.free_port()
    with (
        pytest.raises(TargetError) as told,
        launch.serve("it", command(port), health=url(port, "/no"), timeout_s=0.5, env={}, log=tmp_path / "engine.log"),
    ):
        pass
    assert "was not healthy within 0.5 s" in told.value.message
    assert "backend.launch.timeout" in told.value.remedy


def test_a_taken_port_is_not_mistaken_for_ours(tmp_path: Path) -> None:
    port = launch.free_port()
    with (
        launch.serve("it", command(port), health=url(port), timeout_s=60, env={}, log=tmp_path / "one.log"),
        pytest.raises(TargetError, match="something else listens"),
        launch.serve("other", command(port), health=url(port), timeout_s=60, env={}, log=tmp_path / "two.log"),
    ):
        pass


def test_a_server_ends_when_its_starter_is_killed(tmp_path: Path) -> None:
    port, log = launch.free_port(), tmp_path / "engine.log"
    script = (
        "import sys\nfrom pathlib import Path\nfrom harness.backends import launch\n"
        "with launch.serve('it', sys.argv[3:], health=sys.argv[1], timeout_s=60, env={}, log=Path(sys.argv[2])) as s:\n"
        "    print(s.pid, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    words = [sys.executable, "-c", script, url(port), str(log), *command(port, "stubborn")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        assert alive(pid)
        starter.kill()
    while alive(pid):  # it ignores SIGTERM: SIGKILL follows
        time.sleep(0.05)


def test_environment_reaches_it(tmp_path: Path) -> None:
    words = [sys.executable, "-c", "import os, sys; sys.exit(os.environ['MARK'])"]
    with (
        pytest.raises(TargetError, match="seen"),
        launch.serve("it", words, health=url(1), timeout_s=60, env={"MARK": "seen"}, log=tmp_path / "engine.log"),
    ):
        pass
    assert "MARK" not in os.environ


def test_a_server_that_loads_is_waited_for() -> None:
    port = launch.free_port()
    with launch.serve("it", command(port), health=url(port), timeout_s=60, env={}):
        launch.await_loaded(url(port), name="it", timeout_s=60)
        with pytest.raises(TargetError, match="still loads its model after 0 s"):
            launch.await_loaded(url(port, "/loading"), name="it", timeout_s=0)
    launch.await_loaded(url(port), name="it", timeout_s=60)  # nobody there: found out elsewhere


@pytest.mark.parametrize(
    ("given", "words", "found"),
    [
        (None, ["--port", "81"], ("127.0.0.1", 81, False)),
        (None, ["--port=81"], ("127.0.0.1", 81, False)),
        ("http://127.0.0.1:82/v1", [], ("127.0.0.1", 82, True)),
        ("http://127.0.0.1:82/v1", ["--port", "82"], ("127.0.0.1", 82, False)),
    ],
)
def test_where_it_will_listen(given: str | None, words: list[str], found: tuple[str, int, bool]) -> None:
    assert launch.address(given, words) == found


def test_a_free_port_is_found() -> None:
    host, port, tell = launch.address(None, ["--port", "{port}"])
    assert (host, tell) == ("127.0.0.1", True)
    assert 1024 <= port <= 65535
    with pytest.raises(ConfigError, match="'many' is no port number"):
        launch.address(None, ["--port", "many"])


def test_placeholders() -> None:
    words = ["{model}", "--port={port}", '{"a": {}}', "{host}:{port}"]
    assert launch.filled(words, host="h", port=8, model="m") == ["m", "--port=8", '{"a": {}}', "h:8"]
