"""What a real server costs on a box of one's own, held against two hosted models. The arithmetic is done again here,
from the records and the server's own counters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from tests.conftest import Engine
    from tests.e2e.conftest import Cli

pytestmark = pytest.mark.engine

CONFIG = """
name: owned-box
seed: 5
backend: {{kind: openai, url: "{url}", model: tiny}}
workload:
  kind: chat
  turns: 2
  system_tokens: 60
  input_tokens: {{dist: lognormal, median: 60, sigma: 0.8, max: 300}}
  output_tokens: 48
  think: 0
load: {{concurrency: 4, warmup: 4, sessions: 80, workers: 1}}
slo: ["error_rate < 5%", "ttft.p95 < 1m"]
telemetry: {{interval: 250ms}}
cost:
  owned: {{capex: 1200, life_years: 4, interest: 8%, kw: 0.065, pue: 1, kwh_price: 0.30}}
  as_of: 2026-11
  against: [groq/llama-3-70b, openai/gpt-4o]
"""

# 1,200 x 0.08 x 1.08^4 / (1.08^4 - 1) / 8,760 = 0.0413590 for the box, 0.065 kW x 0.30 = 0.0195 for its power.
PER_HOUR = 0.0413590 + 0.0195


class Finished(NamedTuple):
    summary: dict[str, Any]
    records: list[dict[str, Any]]
    folder: Path
    shown: str


@pytest.fixture(scope="module")
def finished(llama_server: Engine, run_harness: Cli, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    home = tmp_path_factory.mktemp("cost")
    (home / "config.yaml").write_text(CONFIG.format(url=llama_server.url))
    done = run_harness("run", "config.yaml", cwd=home)
    assert done.returncode in (0, 4, 12), done.stderr  # a busy machine makes a run invalid, and rightly
    (folder,) = (path for path in (home / "results").iterdir() if path.is_dir())
    lines = [line for path in folder.glob("records-*.jsonl") for line in path.read_text().splitlines()]
    summary = json.loads((folder / "summary.json").read_text())
    return Finished(summary, [json.loads(line) for line in lines], folder, done.stderr)


def test_an_hour_and_a_million_tokens(finished: Finished) -> None:
    cost, rates = finished.summary["cost"], finished.summary["rates"]
    assert cost["basis"] == "owned"
    assert cost["per_hour"] == pytest.approx(PER_HOUR, rel=1e-5)
    assert cost["parts"] == pytest.approx({"hardware": 0.0413590, "electricity": 0.0195}, rel=1e-5)
    blended = PER_HOUR * 1e6 / (3600 * rates["total_tokens_per_s"])
    assert cost["per_1m_tokens"] == pytest.approx(blended, rel=1e-5)
    assert cost["at_utilisation"] == pytest.approx({"100": blended, "50": 2 * blended, "20": 5 * blended}, rel=1e-5)
    assert cost["ci95"][0] < cost["per_1m_tokens"] < cost["ci95"][1]
    assert cost["per_session"] == pytest.approx(PER_HOUR / rates["sessions_per_hour"], rel=1e-5)


def test_all_met_their_slo_so_a_good_token_costs_what_a_token_costs(finished: Finished) -> None:
    """But for requests under way at the window's edges, whose tokens count in both."""
    cost = finished.summary["cost"]
    assert cost["at_slo"] == pytest.approx(cost["per_1m_tokens"], rel=1e-6)
    assert cost["per_good_session"] == pytest.approx(cost["per_session"])


def test_input_and_output_by_the_server_s_own_times(finished: Finished) -> None:
    """Those of each answer that began in the window. Charged by them, both sides make the blended figure."""
    cost, rates = finished.summary["cost"], finished.summary["rates"]
    assert cost["split"] == "the engine's own time in prefill and decode"
    timings = [record["server"]["timings"] for record in finished.records if record["phase"] == "measure"]
    prefill, decode = sum(told["prompt_ms"] for told in timings), sum(told["predicted_ms"] for told in timings)
    assert cost["input_share"] == pytest.approx(prefill / (prefill + decode), rel=1e-4)
    out_s = rates["output_tokens_per_s"]
    in_s = rates["total_tokens_per_s"] - out_s
    whole = in_s * cost["per_1m_input_tokens"] + out_s * cost["per_1m_output_tokens"]
    assert whole / (in_s + out_s) == pytest.approx(cost["per_1m_tokens"], rel=1e-5)
    assert cost["inferencex"]["output"] == pytest.approx(PER_HOUR * 1e6 / (3600 * out_s), rel=1e-5)
    assert cost["inferencex"]["input"] > cost["per_1m_input_tokens"]


def test_break_even_against_two_apis(finished: Finished) -> None:
    rates, counted = finished.summary["rates"], [r for r in finished.records if int(r["session"][1:]) >= 4]
    sessions = len({record["session"] for record in counted})
    tokens = [sum(record[f"{side}_tokens"] for record in counted) for side in ("input", "output")]
    groq, openai = finished.summary["cost"]["break_even"]
    for told, model, prices in ((groq, "groq/llama-3-70b", (0.5, 0.5)), (openai, "openai/gpt-4o", (5.0, 15.0))):
        bill = sum(price * number for price, number in zip(prices, tokens, strict=True)) / 1e6
        assert told["model"] == model and told["as_of"].startswith("2024")
        assert told["per_session"] == pytest.approx(bill / sessions)
        assert told["per_1m_tokens"] == pytest.approx(bill * 1e6 / sum(tokens))
        assert told["sessions_per_hour"] == pytest.approx(PER_HOUR / told["per_session"], rel=1e-5)
        assert told["utilisation"] == pytest.approx(told["sessions_per_hour"] / rates["sessions_per_hour"], rel=1e-5)


def test_prices_of_2024_are_told_to_be_old(finished: Finished) -> None:
    (finding,) = (told for told in finished.summary["validity"]["findings"] if told["code"] == "price_old")
    assert finding["severity"] == "info" and "groq/llama-3-70b" in finding["message"]


def test_bytes_on_the_wire(finished: Finished) -> None:
    counted = [record for record in finished.records if int(record["session"][1:]) >= 4]
    tokens = sum(record["output_tokens"] for record in counted)
    wire = finished.summary["wire"]
    assert wire["in_per_output_token"] == pytest.approx(sum(record["bytes_in"] for record in counted) / tokens)
    assert wire["out_per_output_token"] == pytest.approx(sum(record["bytes_out"] for record in counted) / tokens)


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux")
def test_the_memory_of_an_engine_that_was_up_already(
    finished: Finished, run_harness: Cli, llama_server: Engine
) -> None:
    """Beside the speed in the classic table, as the kernel tells it."""
    held = finished.summary["server"]["machine"]["engine_rss_bytes_max"]
    status = Path(f"/proc/{llama_server.pid}/status").read_text()
    (peak,) = (int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    assert 10 << 20 < held <= peak
    done = run_harness("compare", finished.folder, finished.folder, "--table", "--json", cwd=finished.folder)
    row = json.loads(done.stdout)["classic"][0]
    assert row["memory_gb"] == pytest.approx(held / 1e9) and row["memory_of"] == "processes"
    assert row["tokens_per_s"] == pytest.approx(finished.summary["rates"]["output_tokens_per_s"])
    assert row["concurrency"] == 4 and row["model"] == "tiny"


def test_people_are_told(finished: Finished) -> None:
    assert "break-even" in finished.shown and "openai/gpt-4o" in finished.shown
    assert "break-even use" in (finished.folder / "report.html").read_text()


def test_the_stored_config_has_the_prices_and_can_be_told_again(finished: Finished, run_harness: Cli) -> None:
    stored = (finished.folder / "experiment.yaml").read_text()
    assert "via the article of 2026-05" in stored and "input: 5.0" in stored
    again = run_harness("plan", finished.folder / "experiment.yaml", "--json", cwd=finished.folder)
    assert json.loads(again.stdout)["plan_sha256"] == finished.summary["run"]["plan_sha256"]
