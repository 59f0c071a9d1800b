from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.records.telemetry import Histogram
from harness.telemetry.aliases import COUNTERS, GAUGES, HISTOGRAMS, SHARES
from harness.telemetry.page import MOST_BYTES, Page, PageError, looks_like_metrics, parse
from harness.telemetry.prometheus import Prometheus, read_page
from harness.telemetry.source import Engine, Missing

VLLM = (Path(__file__).parent / "data" / "vllm.txt").read_text(encoding="ascii")

SGLANG = """\
# TYPE sglang:num_running_reqs gauge
sglang:num_running_reqs{model_name="m"} 3.0
sglang:num_queue_reqs{model_name="m"} 1.0
sglang:token_usage{model_name="m"} 0.28
sglang:prompt_tokens_total{model_name="m",is_streaming="true"} 100.0
sglang:prompt_tokens_total{model_name="m",is_streaming="false"} 20.0
sglang:cached_tokens_total{cache_source="device",model_name="m"} 60.0
sglang:generation_tokens_total{model_name="m"} 7.5e+02
sglang:time_to_first_token_seconds_bucket{le="0.1",model_name="m"} 4.0
sglang:time_to_first_token_seconds_bucket{le="+Inf",model_name="m"} 5.0
sglang:time_to_first_token_seconds_sum{model_name="m"} 0.7
sglang:time_to_first_token_seconds_count{model_name="m"} 5.0
"""
LLAMACPP = """\
# TYPE llamacpp:prompt_tokens_total counter
llamacpp:prompt_tokens_total 12
llamacpp:prompt_seconds_total 0.25
llamacpp:tokens_predicted_total 34
llamacpp:tokens_predicted_seconds_total 1.5
llamacpp:requests_processing 2
llamacpp:requests_deferred 5
llamacpp:n_decode_total 99
llamacpp:spec_decode_num_drafts_total 4
llamacpp:spec_decode_num_draft_tokens_total 20
llamacpp:spec_decode_num_accepted_tokens_total 13
"""
OLD_VLLM = """\
vllm:gpu_cache_usage_perc{model_name="m"} 0.5
vllm:gpu_prefix_cache_queries_total{model_name="m"} 200
vllm:gpu_prefix_cache_hits_total{model_name="m"} 10
vllm:time_per_output_token_seconds_bucket{le="0.05",model_name="m"} 2
vllm:time_per_output_token_seconds_bucket{le="+Inf",model_name="m"} 3
vllm:time_per_output_token_seconds_sum{model_name="m"} 0.2
"""


def test_a_real_page_of_vllm() -> None:
    reading = read_page(VLLM)
    assert reading.values["generation_tokens"] == 17609
    assert reading.values["prompt_tokens"] == 4707
    assert reading.values["running"] == reading.values["waiting"] == reading.values["kv_cache_usage"] == 0
    assert set(reading.histograms) == set(HISTOGRAMS)
    ttft = reading.histograms["ttft"]
    assert ttft.counts[:5] == [0, 40, 49, 129, 57] and sum(ttft.counts) == ttft.n == 275
    assert ttft.bounds is not None and ttft.bounds[:3] == [0.001, 0.005, 0.01] and len(ttft.bounds) == 22
    assert ttft.sum == pytest.approx(4.0244)
    assert reading.histograms["itl"].n == 17334  # 17,609 tokens less one for each of 275 requests
    assert not any(value > 1e9 for value in reading.values.values())  # no _created stamp among them


def test_sglang_sums_series_and_keeps_shares() -> None:
    reading = read_page(SGLANG)
    assert reading.values == {
        "running": 3, "waiting": 1, "kv_cache_usage": 0.28,
        "prompt_tokens": 120, "cached_prompt_tokens": 60, "generation_tokens": 750,
    }  # fmt: skip
    assert reading.histograms == {"ttft": Histogram(counts=[4, 1], sum=0.7, bounds=[0.1])}


def test_llamacpp_has_no_histograms_and_its_prompt_tokens_are_the_computed_ones() -> None:
    reading = read_page(LLAMACPP)
    assert reading.values == {
        "running": 2, "waiting": 5, "computed_prompt_tokens": 12, "generation_tokens": 34, "prefill_seconds": 0.25,
        "decode_seconds": 1.5, "spec_drafts": 4, "spec_draft_tokens": 20, "spec_accepted_tokens": 13,
    }  # fmt: skip
    assert not reading.histograms


def test_older_names_of_vllm_count_and_are_not_added_to_newer_ones() -> None:
    reading = read_page(OLD_VLLM)
    assert reading.values == {"kv_cache_usage": 0.5, "prefix_cache_queries": 200, "prefix_cache_hits": 10}
    assert reading.histograms["itl"].counts == [2, 1]
    both = read_page(OLD_VLLM + 'vllm:kv_cache_usage_perc{model_name="m"} 0.75\n')
    assert both.values["kv_cache_usage"] == 0.75


def test_two_engines_behind_a_page_are_summed_but_shares_are_averaged() -> None:
    page = "".join(
        f'vllm:num_requests_running{{engine="{i}"}} {2 + i}\nvllm:kv_cache_usage_perc{{engine="{i}"}} {0.2 + 0.4 * i}\n'
        f'vllm:request_queue_time_seconds_bucket{{engine="{i}",le="0.3"}} 1\n'
        f'vllm:request_queue_time_seconds_bucket{{engine="{i}",le="+Inf"}} 3\n'
        for i in range(2)
    )
    reading = read_page(page)
    assert reading.values == pytest.approx({"running": 5, "kv_cache_usage": 0.4})
    assert reading.histograms["queue"].counts == [2, 4]


def test_no_alias_means_two_things() -> None:
    names = [a for table in (GAUGES, SHARES, COUNTERS, HISTOGRAMS) for aliases in table.values() for a in aliases]
    assert len(names) == len(set(names))


@given(st.text())
def test_any_text_is_read_without_an_error(text: str) -> None:
    read_page(text)
    for line in text.splitlines():
        read_page(f"vllm:num_requests_running {line}\nvllm:time_to_first_token_seconds_bucket{line}\n")


@pytest.mark.parametrize("value", ["NaN", "+Inf", "nonsense"])
def test_a_figure_that_is_no_number_is_unknown(value: str) -> None:
    assert read_page(f"vllm:num_requests_running {value}\n").values == {}


def test_only_wanted_lines_are_parsed() -> None:
    assert parse('a{x="1"} 2\nb 3\nab 4\n', frozenset(("a",))) == {"a": [({"x": "1"}, 2.0)]}


def test_auto_finds_the_page_below_the_root_and_samples_it(site: Any, wanted: Callable[..., Any]) -> None:
    site.pages["/metrics"] = LLAMACPP
    source = Prometheus(wanted(prometheus="auto"), Engine(url=f"{site.url}/v1", headers={"Authorization": "Bearer k"}))
    source.open()
    assert source.sample().values["running"] == 2
    source.close()
    assert [path for path, _ in site.seen] == ["/metrics"] * 2
    assert all(headers["authorization"] == "Bearer k" for _, headers in site.seen)


def test_auto_knows_where_trtllm_serve_has_its_page(site: Any, wanted: Callable[..., Any]) -> None:
    site.pages["/metrics"] = '[{"iter": 1}]'
    site.pages["/prometheus/metrics"] = "trtllm_num_requests_running 7\n"
    source = Prometheus(wanted(prometheus="auto"), Engine(url=f"{site.url}/v1"))
    source.open()
    assert source.sample().values == {"running": 7}
    source.close()


def test_a_page_elsewhere_gets_no_key(site: Any, wanted: Callable[..., Any]) -> None:
    site.pages["/stats"] = SGLANG
    engine = Engine(url="http://api.example.com/v1", headers={"Authorization": "Bearer k"})
    source = Prometheus(wanted(prometheus=f"{site.url}/stats"), engine)
    source.open()
    source.close()
    assert "authorization" not in site.seen[0][1]


@pytest.mark.parametrize(("asked", "severity"), [("auto", "info"), (True, "warning")])
def test_no_page_is_told_and_how_gravely_depends_on_who_asked(
    site: Any, wanted: Callable[..., Any], asked: bool | str, severity: str
) -> None:
    source = Prometheus(wanted(prometheus=asked), Engine(url=f"{site.url}/v1"))
    with pytest.raises(Missing, match="answers HTTP 404") as told:
        source.open()
    assert told.value.severity == severity and "telemetry.prometheus" in told.value.remedy
    with pytest.raises(Missing):
        source.sample()
    source.close()


def test_other_answers_with_200_are_no_metrics(site: Any, wanted: Callable[..., Any]) -> None:
    site.pages |= {"/metrics": "<html>hello</html>", "/prometheus/metrics": "# TYPE up gauge\nup 1\n"}
    source = Prometheus(wanted(prometheus="auto"), Engine(url=site.url))
    with pytest.raises(Missing, match=r"is no page of Prometheus metrics; .* has no name we know"):
        source.open()


@pytest.mark.parametrize(("asked", "url"), [(False, "http://127.0.0.1:1/v1"), ("auto", "")])
def test_who_did_not_ask_is_told_nothing(wanted: Callable[..., Any], asked: bool | str, url: str) -> None:
    with pytest.raises(Missing) as told:
        Prometheus(wanted(prometheus=asked), Engine(url=url)).open()
    assert told.value.severity is None


def test_a_page_beyond_reason_is_refused(site: Any) -> None:
    site.pages["/metrics"] = "x" * (MOST_BYTES + 1)
    page = Page(f"{site.url}/metrics")
    with pytest.raises(PageError, match="more than 16 MiB"):
        page.fetch()
    page.close()


def test_nobody_there_and_no_such_bundle() -> None:
    with pytest.raises(PageError, match="refused"):
        Page("http://127.0.0.1:9/metrics").fetch()
    with pytest.raises(PageError, match="No such file"):
        Page("https://127.0.0.1:9/metrics", verify="/nowhere.pem").fetch()


def test_what_looks_like_metrics() -> None:
    assert looks_like_metrics("x\n# TYPE a counter\n")
    assert not looks_like_metrics('{"# TYPE ": 1}')
