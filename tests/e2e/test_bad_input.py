"""Fail before the first request: one clear line, the right exit code, no traceback, nothing left behind."""

from __future__ import annotations

import http.server
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

CONFIG = """\
name: bad
backend: {{kind: openai, url: "{url}", model: m}}
workload: {{kind: chat, turns: 1, output_tokens: 4, input_tokens: 4, system_tokens: 0, think: 0}}
load: {{concurrency: 1, sessions: 1}}
"""


def run(tmp_path: Path, text: str, *words: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "config.yaml").write_text(text)
    return subprocess.run(
        [sys.executable, "-m", "harness", "run", "config.yaml", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def is_clear(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) <= 3
    for word in words:
        assert word.lower() in done.stderr.lower(), done.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (CONFIG.replace("concurrency", "concurency"), ["load.concurency", "unknown key", "load.concurrency"]),
        (CONFIG.replace("chat, turns: 1", "chat, turns: -1"), ["workload.turns"]),
        (CONFIG.replace("kind: chat", "kind: chatt"), ["chatt", "chat"]),
        (CONFIG.replace("kind: openai", "kind: opnai"), ["opnai", "openai"]),
        (CONFIG.replace("concurrency: 1, ", ""), ["concurrency", "rate"]),
        (CONFIG + 'slo: ["ttfft.p95 < 1s"]\n', ["ttfft", "ttft"]),
        (CONFIG + 'gate: ["ttft.p95 <"]\n', ["ttft.p95"]),
        (CONFIG.replace("model: m", "api_key: sk-123456789"), ["api_key", "env:"]),
        (CONFIG.replace("model: m", "api_key: env:NO_SUCH_KEY"), ["NO_SUCH_KEY"]),
        (CONFIG.replace("{url}", "ftp://host/v1"), ["url"]),
        (
            CONFIG.replace('kind: openai, url: "{url}", model: m', "kind: groq, launch: x"),
            ["backend.launch", "'x'", "a section"],
        ),
        (CONFIG.replace("kind: openai", "kind: anthropic, headers: [a]"), ["backend.headers", "a section"]),
        ("just text", []),
        ("{{", []),
        ("", []),
    ],
)
def test_wrong_configs(tmp_path: Path, text: str, words: list[str]) -> None:
    done = run(tmp_path, text.replace("{url}", "http://127.0.0.1:9/v1").replace("{{", "{").replace("}}", "}"))
    is_clear(done, 2, *words)
    assert not (tmp_path / "results").exists()
    assert "sk-123456789" not in done.stderr


def test_unknown_flags_and_missing_files(tmp_path: Path) -> None:
    is_clear(run(tmp_path, CONFIG.format(url="http://127.0.0.1:9/v1"), "-o", "load.nope=1"), 2, "load.nope")
    (tmp_path / "file").write_text("")
    is_clear(run(tmp_path, CONFIG.format(url="http://127.0.0.1:9/v1"), "--out", "file/below"), 2, "file/below")
    is_clear(run(tmp_path, CONFIG.format(url="http://127.0.0.1:9/v1"), "--report", "nope=x"), 2, "nope")
    missing = subprocess.run(
        [sys.executable, "-m", "harness", "run", "nowhere.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    is_clear(missing, 2, "nowhere.yaml")


def test_refused_connection(tmp_path: Path) -> None:
    done = run(tmp_path, CONFIG.format(url="http://127.0.0.1:9/v1"))
    is_clear(done, 3, "127.0.0.1:9", "connection refused")
    assert not list((tmp_path / "results").glob("*/"))


def test_name_that_does_not_resolve(tmp_path: Path) -> None:
    is_clear(run(tmp_path, CONFIG.format(url="http://no-such-host.invalid/v1")), 3, "no-such-host.invalid")


Answer = tuple[int, dict[str, str], bytes]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((401, {}, b'{"error": {"message": "bad key"}}'), ["401", "bad key", "api_key"]),
        ((404, {}, b'{"error": {"message": "no model m"}}'), ["404", "no model m"]),
        ((302, {"location": "https://elsewhere.example/v1"}, b""), ["302", "elsewhere.example"]),
        ((200, {"content-type": "text/html"}, b"<html>hello</html>"), ["not json"]),
        ((500, {}, b"oops"), ["500", "oops"]),
    ],
)
def test_unfit_targets(tmp_path: Path, answer: Answer, words: list[str]) -> None:
    with serving(lambda: answer) as url:
        is_clear(run(tmp_path, CONFIG.format(url=url)), 3, *words)


def test_tls_failure(tmp_path: Path) -> None:
    made = subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            "key.pem",
            "-out",
            "cert.pem",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
        ],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("needs the openssl command")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    with serving(lambda: (500, {}, b""), context) as url:
        is_clear(run(tmp_path, CONFIG.format(url=url)), 3, "tls", "certificate")


@contextmanager
def serving(answer: Callable[[], Answer], context: ssl.SSLContext | None = None) -> Iterator[str]:
    """A server that gives every POST the same answer."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            status, headers, body = answer()
            self.send_response(status)
            for name, value in {"content-type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http{'s' if context else ''}://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
