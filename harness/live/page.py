"""The dashboard as a web page, for the screens of a lab: one self-contained document that asks for the newest moment.

The moment is put into JSON once a second at most, by the live view's thread; a reader gets what lies there, so any
number of readers costs the run nothing more.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from harness.clock import now_ns
from harness.live import told
from harness.live.moment import Moment, moment
from harness.live.progress import Progress
from harness.live.server import text
from harness.units import NS_PER_S

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_ENCODE = msgspec.json.Encoder().encode


class _State(msgspec.Struct):
    """What a reader gets. `note` is the last thing said to whoever watches."""

    state: Literal["starting", "running", "ended"] = "starting"
    note: str = ""
    moment: Moment | None = None


class LivePage:
    """A painter of the live view. `document` and `state` are WSGI applications."""

    interval_s = 1.0

    def __init__(self) -> None:
        self._state = _State()
        self._json = _ENCODE(self._state)
        self._due_ns = 0

    def open(self) -> None:
        """Nothing to prepare."""

    def paint(self, progress: Progress, *, last: bool = False) -> None:
        if now_ns() < self._due_ns and not last:
            return
        self._due_ns = now_ns() + round(self.interval_s * NS_PER_S)
        self._state.state, self._state.moment = "running", moment(progress)
        self._json = _ENCODE(self._state)

    def say(self, text: str) -> None:
        self._state.note = told.plain(text, 200)
        self._json = _ENCODE(self._state)

    def close(self) -> None:
        """The load is over; the figures stay for as long as the process does."""
        self._state.state = "ended"
        self._json = _ENCODE(self._state)

    def state(self, _environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return text(start_response, self._json, "application/json")

    def document(self, _environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        body, policy = _document()
        return text(start_response, body, "text/html", headers=[("Content-Security-Policy", policy)])


@cache
def _document() -> tuple[bytes, str]:
    """The page and its policy: its own script and style, its own server, nothing else."""
    page = Path(__file__).with_name("page.html").read_text(encoding="utf-8")

    def digest(element: str) -> str:
        found = re.search(rf"<{element}>(.*?)</{element}>", page, re.DOTALL)
        assert found is not None
        return f"'sha256-{base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()}'"

    own = f"script-src {digest('script')}; style-src {digest('style')}; connect-src 'self'"
    return page.encode(), f"default-src 'none'; {own}; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
