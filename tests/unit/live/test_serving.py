import json
import re
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from harness.errors import UsageError
from harness.live.page import LivePage
from harness.live.progress import Goal
from harness.live.server import Server
from harness.live.serving import Serving, parse_address
from harness.live.view import LiveView
from harness.records.snapshot import Snapshot
from harness.units import NS_PER_S

GOAL = Goal(name="agents", target="vllm", duration_s=60.0, limits={"ttft.p95": 0.5})


def get(url: str, method: str = "GET") -> tuple[bytes, dict[str, str]]:
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=10) as answer:
        return answer.read(), dict(answer.headers)


def address(serving: Serving) -> str:
    return serving.told[-1].split()[-1]


@pytest.fixture
def serving() -> Iterator[Serving]:
    with Serving(page=("127.0.0.1", 0)) as made:
        yield made


def test_the_page_tells_what_the_view_tells(serving: Serving) -> None:
    state = address(serving) + "state.json"
    assert json.loads(get(state)[0]) == {"state": "starting", "note": "", "moment": None}
    with LiveView(GOAL, quiet=True, page=serving.page) as view:
        view.update([Snapshot(worker=0, t_ns=6 * NS_PER_S, live_requests=7)], 6 * NS_PER_S, {"running": 3.0})
        view.say("stopping\x1b")
    told = json.loads(get(state)[0])
    assert told["state"] == "ended" and told["note"] == "stopping\ufffd"
    assert told["moment"]["live"] == ["0 sessions", "7 requests"]
    assert told["moment"]["share"] == pytest.approx(0.1)
    assert told["moment"]["engine"] == ["3 running"]
    assert told["moment"]["limits"] == [{"metric": "ttft", "text": "p95 < 500 ms", "word": "–"}]


def test_the_document_is_whole_and_may_ask_nobody_else(serving: Serving) -> None:
    body, headers = get(address(serving))
    page = body.decode()
    assert headers["Content-Type"] == "text/html; charset=utf-8" and headers["Cache-Control"] == "no-store"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'sha256-")
    assert "connect-src 'self'" in headers["Content-Security-Policy"]
    assert not re.search(r"(src|href)=\"(?!/state\.json)", page) and "http" not in page
    assert "innerHTML" not in page  # foreign text is only ever text
    assert "prefers-color-scheme:dark" in page and "width=device-width" in page


def test_fields_that_the_script_reads_are_told(serving: Serving) -> None:
    with LiveView(GOAL, quiet=True, page=serving.page) as view:
        view.update([Snapshot(worker=0, t_ns=1)], 1)
    told = json.loads(get(address(serving) + "state.json")[0])["moment"]
    script = get(address(serving))[0].decode().partition("<script>")[2]
    named = set(re.findall(r"\bnow\.(\w+)", script)) | {"name", "target", "clock"}
    assert named == set(told)


def test_it_paints_once_a_second_whatever_the_terminal_does(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.live import page as module
    from harness.live.progress import Progress

    clock = iter(range(0, 10 * NS_PER_S, NS_PER_S // 8))  # asked twice a painting
    monkeypatch.setattr(module, "now_ns", lambda: next(clock))
    painted = []
    monkeypatch.setattr(module, "moment", painted.append)
    page, progress = LivePage(), Progress(GOAL)
    for _ in range(16):
        page.paint(progress)
    assert 2 <= len(painted) <= 3


def test_only_what_is_there_and_only_to_be_read(serving: Serving) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404") as missing:
        get(address(serving) + "metrics")
    assert b"/state.json" in missing.value.read()
    with pytest.raises(urllib.error.HTTPError, match="405"):
        get(address(serving), method="POST")
    assert get(address(serving), method="HEAD")[0] == b""


def test_both_share_one_port_where_both_are_asked_for_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = int(holder.getsockname()[1])
    with Serving(metrics=("127.0.0.1", port), page=("127.0.0.1", port)) as serving:
        assert serving.told == [
            f"live figures on http://127.0.0.1:{port}/metrics",
            f"live page on http://127.0.0.1:{port}/",
        ]
        serving.describe("run-1", GOAL)
        serving.update([Snapshot(worker=0, t_ns=0, requests_sent=3)])
        page = get(f"http://127.0.0.1:{port}/metrics")[0].decode()
        assert "harness_requests_sent_total 3.0" in page and 'run_id="run-1"' in page
        assert b"<!doctype html>" in get(f"http://127.0.0.1:{port}/")[0]


def test_each_has_its_own_port_otherwise() -> None:
    with Serving(metrics=("127.0.0.1", 0), page=("127.0.0.1", 0)) as serving:
        metrics, page = (line.split()[-1] for line in serving.told)
        assert metrics.rpartition("/")[0] != page.rstrip("/")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get(page + "metrics")


def test_a_busy_port_is_an_error_of_usage_and_frees_the_other() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder, socket.create_server(("127.0.0.1", 0)) as other:
        busy, free = int(holder.getsockname()[1]), int(other.getsockname()[1])
        other.close()
        with pytest.raises(UsageError, match=f"127.0.0.1:{busy} for --live-url"):
            Serving(metrics=("127.0.0.1", free), page=("127.0.0.1", busy))
        Serving(metrics=("127.0.0.1", free)).close()


def test_it_stops() -> None:
    with Serving(page=("127.0.0.1", 0)) as serving:
        url = address(serving)
    with pytest.raises(OSError, match="refused"):
        get(url)


def test_an_address_of_the_other_family() -> None:
    try:
        server = Server("::1", 0, "--live-url")
    except UsageError:
        pytest.skip("WITHOUT IPv6 here")
    assert server.url.startswith("http://[::1]:")
    server.close()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("8080", ("127.0.0.1", 8080)),
        ("0.0.0.0:8080", ("0.0.0.0", 8080)),
        ("lab-1.local:0", ("lab-1.local", 0)),
        ("[::1]:99", ("::1", 99)),
    ],
)
def test_a_port_alone_is_of_the_loopback(text: str, told: tuple[str, int]) -> None:
    assert parse_address(text) == told


@pytest.mark.parametrize("text", ["", ":8080", "here", "http://x:1", "1.2.3.4:99999", "::1:80", "a b:1"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError, match="not an address"):
        parse_address(text)
