import io
import threading

import pytest
from rich.console import Console

from harness.live import told
from harness.live.dashboard import Picture, draw
from harness.live.lines import Lines, line
from harness.live.merge import merge
from harness.live.moment import moment
from harness.live.progress import Goal, Progress
from harness.live.view import LiveView
from harness.records.snapshot import Health, LogHistogram, Snapshot
from harness.units import NS_PER_S, THIN

GOAL = Goal(
    name="agents",
    target="vllm · tiny",
    sessions=200,
    duration_s=60.0,
    limits={"ttft.p95": 0.5, "tpot.p95": 0.01, "e2e.p99": 9.0, "error_rate": 0.01},
    later=("session.makespan.p95 < 9s",),
)


def histogram(*seconds: float) -> LogHistogram:
    made = LogHistogram()
    for value in seconds:
        made.add(value)
    return made


def snapshot(worker: int = 0, t: float = 40.0, **parts: object) -> Snapshot:
    fields: dict[str, object] = {
        "phase": "measure",
        "live_sessions": 16,
        "live_requests": 100,
        "sessions_done": 59,
        "requests_ok": 590,
        "output_tokens": 1000,
        "ttft": histogram(*[0.1, 0.2, 0.3] * 20),
        "tpot": histogram(*[0.02] * 60),
    }
    return Snapshot(worker=worker, t_ns=round(t * NS_PER_S), **(fields | parts))  # type: ignore[arg-type]


@pytest.fixture
def progress() -> Progress:
    made = Progress(GOAL)
    for second in range(38, 41):
        made.add(merge([snapshot(t=second, output_tokens=1000 * second)]), second * NS_PER_S)
    return made


def test_snapshots_of_workers_add_up() -> None:
    one = snapshot(0, 40.0, errors={"timeout": 2}, requests_failed=2, phase="drain")
    two = snapshot(1, 41.0, errors={"timeout": 1, "http_500": 4}, requests_failed=5)
    total = merge([one, two])
    assert (total.t_ns, total.live_sessions, total.output_tokens) == (41 * NS_PER_S, 32, 2000)
    assert total.errors == {"timeout": 3, "http_500": 4}
    assert total.ttft.total() == 120
    assert total.phase == "measure"
    assert one.errors == {"timeout": 2} and one.ttft.total() == 60  # left as they were


def test_health_is_that_of_the_worst_worker() -> None:
    calm = Health(loop_lag_p99_s=0.001, cpu_share=0.2, limit_waits=1, kernel_delay_p99_s=None)
    busy = Health(loop_lag_p99_s=0.02, cpu_share=0.1, limit_waits=2, kernel_delay_p99_s=0.003)
    total = merge([snapshot(health=calm), snapshot(health=busy)]).health
    assert (total.loop_lag_p99_s, total.cpu_share, total.limit_waits) == (0.02, 0.2, 3)
    assert total.kernel_delay_p99_s == 0.003


def test_nothing_merged_is_an_empty_snapshot() -> None:
    total = merge([])
    assert (total.t_ns, total.phase, total.requests_sent) == (0, "warmup", 0)


def test_now_is_what_came_in_the_last_seconds() -> None:
    progress = Progress(GOAL)
    progress.add(snapshot(ttft=histogram(0.1, 0.1)), 10 * NS_PER_S)
    assert progress.now("ttft").total() == 2  # nothing to compare with yet
    assert progress.tokens_per_s is None
    progress.add(snapshot(ttft=histogram(0.1, 0.1, 0.8), output_tokens=3000), 12 * NS_PER_S)
    assert progress.now("ttft").total() == 1
    assert progress.now("ttft").quantile(0.5) == pytest.approx(0.8, rel=0.06)
    assert progress.tokens_per_s == pytest.approx(1000)
    for second in range(13, 30):
        progress.add(snapshot(ttft=histogram(0.1, 0.1, 0.8), output_tokens=3000), second * NS_PER_S)
    assert progress.now("ttft").total() == 0
    assert progress.tokens_per_s == 0


def test_an_older_state_is_ignored(progress: Progress) -> None:
    progress.add(snapshot(live_sessions=1), 5 * NS_PER_S)
    assert progress.latest.live_sessions == 16


def test_progress_follows_whichever_limit_comes_first(progress: Progress) -> None:
    assert progress.share == pytest.approx(40 / 60)
    progress.add(snapshot(sessions_done=190), 41 * NS_PER_S)
    assert progress.share == pytest.approx(0.95)
    progress.add(snapshot(sessions_done=190), 99 * NS_PER_S)
    assert progress.share == 1.0
    assert Progress(Goal(name="x")).share is None


def test_the_dashboard_tells_the_run_in_a_few_lines(progress: Progress) -> None:
    lines = [text.plain for text in draw(moment(progress), 120)]
    assert lines[0].startswith(" agents   vllm · tiny") and lines[0].endswith("00:40 / 01:00")
    assert lines[1].endswith("measure · 67 % · 20 s left")
    assert lines[2] == (
        " live 16 sessions · 100 requests    done 59 sessions · 590 requests    failed 0    error rate 0 % < 1.00 %  ok"
    )
    ttft, tpot, e2e = (next(text for text in lines if text.startswith(f" {name} ")) for name in ("ttft", "tpot", "e2e"))
    assert ttft.endswith("p95 < 500 ms  ok")
    assert tpot.endswith("p95 < 10.0 ms  over")
    assert e2e.endswith("p99 < 9.00 s  –")
    assert f"1{THIN}000 tok/s · 0 req/s" in next(text for text in lines if text.startswith(" out"))
    assert lines[-2] == " client  ok · loop lag p99 0 s · busiest worker 0 % of a core"
    assert lines[-1] == " slo     at the end: session.makespan.p95 < 9s"
    assert len(lines) <= 10


def test_no_quantile_is_told_below_its_sample_floor() -> None:
    progress = Progress(GOAL)
    for number, row in ((5, ("–", "–")), (6, ("205 ms", "–")), (58, ("205 ms", "–")), (59, ("205 ms", "205 ms"))):
        progress.add(snapshot(t=number, ttft=histogram(*[0.2] * number)), number * NS_PER_S)
        told_row = moment(progress).rows[0]
        assert (told_row.p50, told_row.p95) == row
        assert ("ttft p50" in line(progress), "p95" in line(progress).partition("tpot")[0]) == tuple(
            text != "–" for text in row
        )
    assert moment(progress).limits[0].word == "ok"


def test_what_the_engine_says_and_our_share_of_the_ceiling() -> None:
    progress = Progress(Goal(name="x", ceiling=1000.0))
    says = {"running": 31.0, "waiting": 4.0, "kv_cache_usage": 0.713, "prefix_cache_queries": 50.0}
    progress.add(snapshot(t=1, events=100), NS_PER_S, says | {"prefix_cache_hits": 50.0})
    assert moment(progress).engine == ("31 running", "4 waiting", "KV 71 %")  # its totals began before us
    progress.add(
        snapshot(t=2, events=330), 2 * NS_PER_S, says | {"prefix_cache_queries": 150.0, "prefix_cache_hits": 138.0}
    )
    assert moment(progress).engine[-1] == "prefix hits 88 %"
    assert moment(progress).client[-1] == "23 % of this machine's ceiling"
    lines = [text.plain for text in draw(moment(progress), 60)]
    assert " engine  31 running · 4 waiting · KV 71 % · prefix hits 88 %" in lines
    assert lines[-1] == "         23 % of this machine's ceiling"
    progress.add(snapshot(t=3), 3 * NS_PER_S, says | {"prefix_cache_queries": 10.0, "prefix_cache_hits": 9.0})
    assert progress.prefix_hits is None  # restarted: from here on
    progress.add(snapshot(t=4), 4 * NS_PER_S)
    assert moment(progress).engine == ()  # gone silent


def test_time_left_is_of_the_limit_that_comes_first(progress: Progress) -> None:
    assert progress.left_s == pytest.approx(20)
    progress.add(snapshot(sessions_done=160), 40 * NS_PER_S)
    assert progress.left_s == pytest.approx(10)
    progress.add(snapshot(sessions_done=160, phase="drain"), 41 * NS_PER_S)
    assert moment(progress).left == ""
    progress.add(snapshot(sessions_done=200), 42 * NS_PER_S)
    assert progress.left_s is None
    assert Progress(Goal(name="x", sessions=100)).left_s is None  # a guess from nothing


def test_failures_and_a_strained_client_are_marked(progress: Progress) -> None:
    bad = snapshot(
        t=41,
        requests_failed=1200,
        errors={"timeout": 1000, "a": 100, "b": 60, "c": 40},
        health=Health(cpu_share=0.9, send_lag_p99_s=0.02),
    )
    progress.add(bad, 41 * NS_PER_S)
    told_lines = "\n".join(text.plain for text in draw(moment(progress)))
    assert f"✗ failed 1{THIN}200 (timeout 1{THIN}000, a 100, b 60, …)    error rate 67.0 % < 1.00 %  over" in told_lines
    assert "! strained · loop lag p99 0 s · send lag p99 20 ms · busiest worker 90 % of a core" in told_lines
    assert "over: error_rate 67.0 % < 1.00 %" in line(progress)


@pytest.mark.parametrize("width", [40, 80, 120])
def test_what_does_not_fit_goes_under_its_neighbour(progress: Progress, width: int) -> None:
    progress.add(snapshot(t=41, live_sessions=10**6, requests_failed=10**5, errors={"timeout": 10**5}), 41 * NS_PER_S)
    lines = [text.plain for text in draw(moment(progress), width)]
    text = "\n".join(lines)
    assert "✗ failed 100" in text and "error rate" in text and "busiest worker" in text
    assert width < 80 or max(map(len, lines)) <= width


def test_a_narrow_terminal_gets_narrow_lines(progress: Progress) -> None:
    stream = io.StringIO()
    Console(file=stream, width=50, force_terminal=True, color_system=None).print(Picture(progress))
    assert max(len(text) for text in stream.getvalue().splitlines()) <= 50


def test_a_simulated_target_is_named_and_an_endless_run_has_no_bar() -> None:
    lines = [text.plain for text in draw(moment(Progress(Goal(name="x", simulated=True))))]
    assert " ! SIMULATED TARGET" in lines
    assert lines[1] == " warmup"


def test_late_kernel_stamped_loops_are_no_strain() -> None:
    late = Health(loop_lag_p99_s=0.05)
    assert told.client(late)[0] is False
    late.kernel_delay_p99_s = 0.05
    assert told.client(late)[0] is True


def test_hostile_names_lose_their_escape_codes(progress: Progress) -> None:
    progress.add(snapshot(requests_failed=1, errors={"\x1b[2J": 1}), 41 * NS_PER_S)
    assert "\x1b" not in line(progress)


def test_clocks() -> None:
    assert told.clock(3723 * NS_PER_S) == "1:02:03"


def test_plain_lines_come_every_ten_seconds_of_the_run() -> None:
    stream = io.StringIO()
    lines, progress = Lines(stream), Progress(GOAL)
    for second in range(1, 36):
        progress.add(snapshot(t=second), second * NS_PER_S)
        lines.paint(progress)
    lines.paint(progress, last=True)
    lines.paint(progress, last=True)
    written = stream.getvalue().splitlines()
    assert [text.split()[1] for text in written] == ["00:10", "00:20", "00:30", "00:35"]
    assert written[0].startswith("harness: 00:10 / 01:00 measure 30 % · live 16 sessions · done 59 sessions · failed 0")
    assert " · ttft p50 205 ms p95 307 ms · tpot p50 20.5 ms p95 20.5 ms · over: tpot p95 < 10.0 ms · " in written[0]
    assert "\x1b" not in stream.getvalue()


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def test_a_file_gets_plain_lines(stream: io.StringIO) -> None:
    with LiveView(GOAL, console=Console(file=stream)) as view:
        view.update([snapshot()], 40 * NS_PER_S)
        view.say("stopping")
    assert "harness: stopping\n" in stream.getvalue()
    assert "harness: 00:40 / 01:00 measure" in stream.getvalue()


def test_a_terminal_gets_the_dashboard_which_goes_away(stream: io.StringIO) -> None:
    with LiveView(GOAL, console=Console(file=stream, force_terminal=True, width=100)) as view:
        view.update([snapshot(0), snapshot(1)], 40 * NS_PER_S)
        view.say("stopping")
    assert "live 32 sessions" in stream.getvalue()
    assert "! stopping" in stream.getvalue()
    assert stream.getvalue().rstrip("\n").endswith(("\x1b[2K", "\x1b[?25h", "\x1b[1A\x1b[2K"))


def test_standard_error_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    with LiveView(GOAL) as view:
        view.update([snapshot()], 40 * NS_PER_S)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "00:40 / 01:00 measure" in captured.err


def test_quiet_shows_nothing(stream: io.StringIO) -> None:
    with LiveView(GOAL, quiet=True, console=Console(file=stream, force_terminal=True)) as view:
        view.update([snapshot()], 40 * NS_PER_S)
        view.say("stopping")
    assert stream.getvalue() == ""


def test_only_the_newest_state_is_drawn(stream: io.StringIO) -> None:
    with LiveView(GOAL, console=Console(file=stream)) as view:
        for second in range(1, 9):
            view.update([snapshot(t=second, live_sessions=second)], second * NS_PER_S)
    assert "00:08" in stream.getvalue()
    assert "live 8 sessions" in stream.getvalue()


class Stuck(io.StringIO):
    """A pipe that nobody reads until it is freed."""

    def __init__(self) -> None:
        super().__init__()
        self.writing, self.freed = threading.Event(), threading.Event()

    def write(self, text: str) -> int:
        self.writing.set()
        self.freed.wait()
        return super().write(text)


def test_a_stuck_terminal_never_holds_up_whoever_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Lines, "interval_s", 0.001)
    stream = Stuck()
    with LiveView(GOAL, console=Console(file=stream)) as view:
        view.update([snapshot()], 40 * NS_PER_S)
        stream.writing.wait()  # the view's thread now hangs in a write
        for second in range(41, 200):
            view.update([snapshot(t=second)], second * NS_PER_S)
        stream.freed.set()
    assert "03:19" in stream.getvalue()


class Closed(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_a_closed_pipe_is_no_reason_to_fail_a_run() -> None:
    with LiveView(GOAL, console=Console(file=Closed())) as view:
        view.update([snapshot()], 40 * NS_PER_S)
        view.say("stopping")
