"""Price tables, ours and LiteLLM's, and what a cost section makes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from typer.testing import CliRunner

from harness import assets
from harness.cli.app import app
from harness.config.cost import Cost
from harness.config.prices import accelerators, find_accelerator, find_model, models
from harness.errors import UsageError

LITELLM = {
    "sample_spec": {"input_cost_per_token": 0.0, "mode": "one of: chat, ..."},
    "gpt-4o": {
        "input_cost_per_token": 2.5e-06,
        "output_cost_per_token": 1e-05,
        "cache_read_input_token_cost": 1.25e-06,
        "litellm_provider": "openai",
    },
    "anthropic/x": {
        "input_cost_per_token": 3e-06,
        "output_cost_per_token": 1.5e-05,
        "cache_creation_input_token_cost": 3.75e-06,
        "output_cost_per_reasoning_token": 2e-05,
        "input_cost_per_request": 0.001,
    },
    "an-image-model": {"input_cost_per_pixel": 1e-8},
}


@pytest.fixture
def litellm(tmp_path: Path) -> str:
    path = tmp_path / "model_prices.json"
    path.write_text(json.dumps(LITELLM))
    return str(path)


def made(**section: Any) -> Cost:
    return Cost.model_validate(section)


def refused(**section: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        Cost.model_validate(section)
    return str(caught.value.errors()[0]["msg"])


def test_every_price_of_ours_is_positive_and_every_table_dated_with_its_source() -> None:
    for price in models().values():
        assert price.figures["input"] > 0 and price.figures["output"] > 0
        assert price.as_of and price.source and price.currency == "USD"
    for card in accelerators().values():
        assert min(card.rent, card.own, card.kw) > 0 and card.as_of and card.source


def test_names_are_found_in_any_case_and_without_their_provider() -> None:
    assert find_model("GPT-4o").name == "openai/gpt-4o"
    assert find_model("groq/LLAMA-3-70b").figures == {"input": 0.5, "output": 0.5}
    assert find_accelerator("h100") == find_accelerator("H100")


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("groq/lama-3-70b", "Did you mean groq/llama-3-70b?"),
        ("llama-3-70b", "more than once: fireworks/llama-3-70b, groq/llama-3-70b, together/llama-3-70b"),
        ("zzz", "give input and output yourself"),
    ],
)
def test_names_that_are_not_found(name: str, wanted: str) -> None:
    with pytest.raises(ValueError, match=wanted.replace("?", r"\?")):
        find_model(name)


def test_litellm_prices_are_per_token(litellm: str) -> None:
    """2.5e-6 a token is 2.50 a million."""
    assert sorted(models(litellm)) == ["anthropic/x", "gpt-4o"]
    first = find_model("gpt-4o", litellm)
    assert first.figures == {"input": 2.5, "cached_input": 1.25, "output": 10.0}
    assert (first.as_of, first.source) == (None, "model_prices.json (LiteLLM's price table)")
    assert find_model("x", litellm).figures == {
        "input": 3.0, "cache_write": 3.75, "output": 15.0, "reasoning": 20.0, "per_request": 0.001,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("p.json", "{", "is no price table"),
        ("p.json", "[]", "is no price table"),
        ("p.json", '{"a": {"mode": "chat"}}', "LiteLLM's price JSON"),
        ("p.yaml", "models: 3", "is no price table"),
        ("p.yaml", "models: {a: {input: 1}}", "a has no input and output price"),
        ("p.yaml", "models: {a: {input: 1, output: -1}}", "a has no input and output price"),
        ("p.yaml", "a: [", "is no price table"),
    ],
)
def test_what_is_no_table(tmp_path: Path, name: str, text: str, wanted: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ValueError, match=wanted):
        models(str(path))


@given(st.dictionaries(st.text(max_size=8), st.recursive(st.none() | st.floats() | st.text(max_size=4), st.lists)))
def test_no_json_breaks_the_reader(tmp_path_factory: pytest.TempPathFactory, table: dict[str, Any]) -> None:
    path = tmp_path_factory.mktemp("prices") / "any.json"
    path.write_text(json.dumps(table))
    with pytest.raises(ValueError, match="price table"):
        models(str(path))


def test_a_table_of_one_s_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("as_of: 2026-11\nsource: our contract\ncurrency: EUR\nmodels: {m: {input: 1, output: 2}}")
    cost = made(price="m", price_file=str(path), currency="EUR")
    assert cost.price is not None
    assert (cost.price.output, cost.price.as_of, cost.price.source) == (2.0, "2026-11", "our contract")
    assert "there are no exchange rates here" in refused(price="m", price_file=str(path))


def test_a_name_becomes_its_price_with_date_and_source() -> None:
    cost = made(price="gpt-4o")
    assert cost.price is not None
    assert (cost.price.model, cost.price.input, cost.price.output) == ("openai/gpt-4o", 5.0, 15.0)
    assert cost.price.as_of == "2024, via the article of 2026-05"
    assert made(**cost.model_dump(exclude_none=True)) == cost  # a stored config needs no table


def test_figures_beside_a_name_go_before_the_table() -> None:
    price = made(price={"model": "gpt-4o", "output": 12, "batch_factor": 0.5}).price
    assert price is not None and (price.input, price.output, price.batch_factor) == (5.0, 12.0, 0.5)


def test_an_accelerator_is_rented_at_retail() -> None:
    cost = made(accelerator="h200", gpus=8)
    assert (cost.accelerator, cost.gpu_hour, cost.as_of) == ("H200", 2.9, "autumn 2026")
    mine = made(accelerator="my-card", gpu_hour=1.5)
    assert (mine.accelerator, mine.gpu_hour, mine.as_of) == ("my-card", 1.5, None)


def test_apis_to_break_even_against(litellm: str) -> None:
    cost = made(gpu_hour=1, price_file=litellm, against=["gpt-4o", {"model": "mine", "input": 1, "output": 2}])
    assert [(price.model, price.input) for price in cost.against] == [("gpt-4o", 2.5), ("mine", 1.0)]


@pytest.mark.parametrize(
    ("section", "wanted"),
    [
        ({}, "exactly one"),
        ({"gpu_hour": 1, "owned": {"capex": 1}}, "exactly one"),
        ({"price": "gpt-4o", "owned": {"capex": 1}}, "exactly one"),
        ({"price": "gpt-4o", "accelerator": "zzz"}, "no accelerator 'zzz'"),
        ({"owned": {"capex": 1, "kw": 1}}, "kw needs kwh_price"),
        ({"accelerator": "H100", "currency": "EUR"}, "told in USD"),
        ({"gpu_hour": 1, "price_file": "/nope.yaml", "against": ["m"]}, "cannot read the price table"),
        ({"gpu_hour": 1, "against": [3]}, "Input should be a valid dictionary"),
    ],
)
def test_what_is_refused(section: dict[str, Any], wanted: str) -> None:
    assert wanted in refused(**section)


def test_the_tables_are_found_by_the_name_they_have_in_the_wheel() -> None:
    assert assets.find("prices/hosted.yaml") and assets.find("prices/accelerators.yaml")


def test_harness_prices(litellm: str) -> None:
    shown = CliRunner().invoke(app, ["prices"]).stderr
    assert "openai/gpt-4o" in shown and "as of 2024" in shown and "GB300 NVL72" in shown
    only = CliRunner().invoke(app, ["prices", "LLAMA"]).stderr
    assert "groq/llama-3-70b" in only and "gpt-4o" not in only and "H100" not in only
    theirs = CliRunner().invoke(app, ["prices", "--file", litellm]).stderr
    assert "as of an unknown date" in theirs and "3.75" in theirs and "0.001" in theirs and "–" in theirs
    document = json.loads(CliRunner().invoke(app, ["prices", "h100", "--json"]).stdout)
    assert document["models"] == [] and document["accelerators"][0]["rent"] == 2.0


@pytest.mark.parametrize("words", [["zzz"], ["--file", "/nope.json"]])
def test_harness_prices_says_what_is_wrong(words: list[str]) -> None:
    assert isinstance(CliRunner().invoke(app, ["prices", *words]).exception, UsageError)
