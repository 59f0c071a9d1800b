"""Loading: presets, overrides, references, origins; and that each error says where, what and what was meant."""

# ruff: noqa: E501 (messages are compared whole, each case in one line)

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import registry
from harness.config import BackendConfig, Experiment, source
from harness.config.load import load, resolved
from harness.errors import ConfigError, MissingExtra

BASE: dict[str, Any] = {
    "backend": {"kind": "openai", "url": "http://127.0.0.1:8000/v1"},
    "workload": {"kind": "chat"},
    "load": {"concurrency": 4, "sessions": 10},
}


def put(tmp_path: Path, text: str, name: str = "config.yaml") -> Path:
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    return file


def with_(tmp_path: Path, **sections: Any) -> Path:
    """A config file: `BASE` with sections replaced (None: left out)."""
    data = {key: value for key, value in {**BASE, **sections}.items() if value is not None}
    return put(tmp_path, json.dumps(data))


def refused(file: Path | str, *overrides: str, **options: Any) -> list[str]:
    """The lines of the error, without the file's folder."""
    with pytest.raises(ConfigError) as caught:
        load(file, overrides, **options)
    folder = f"{file.parent}/" if isinstance(file, Path) else ""
    return str(caught.value).replace(folder, "").splitlines()


# files


def test_a_preset_by_its_bare_name() -> None:
    loaded = load("quickstart")
    assert loaded.experiment.name == "quickstart"
    assert loaded.source.name == "quickstart.yaml"
    assert loaded.experiment == load("quickstart.yaml").experiment


def test_a_file_goes_before_a_preset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_(tmp_path, name="mine").rename(tmp_path / "quickstart")
    monkeypatch.chdir(tmp_path)
    assert load("quickstart").experiment.name == "mine"


def test_json_and_yaml_are_the_same(tmp_path: Path) -> None:
    yaml_text = "backend: {kind: openai, url: 'http://h/v1'}\nworkload: {kind: chat, turns: 2}\nload: {rate: 5/s}\n"
    json_text = '{\n\t"backend": {"kind": "openai", "url": "http://h/v1"},\n\t"workload": {"kind": "chat", "turns": 2},\n\t"load": {"rate": "5/s"}}'
    wanted = load(put(tmp_path, yaml_text)).experiment
    assert load(put(tmp_path, json_text, "c.json")).experiment == wanted
    assert load(put(tmp_path, json_text, "d.yaml")).experiment == wanted
    flow = "{backend: {kind: openai, url: 'http://h/v1'}, workload: {turns: 2}, load: {rate: 5/s}}"
    assert load(put(tmp_path, "\N{BYTE ORDER MARK}" + flow)).experiment == wanted


@pytest.mark.parametrize(
    ("text", "name", "wanted"),
    [
        ("", "config.yaml", "config.yaml: is empty: it needs at least backend, workload and load"),
        ("# nothing\n", "config.yaml", "config.yaml: is empty"),
        ("- a\n", "config.yaml", "config.yaml: holds a list, where sections"),
        ("hello", "config.yaml", "config.yaml: holds 'hello', where sections"),
        ("a: [1\nb: 2", "config.yaml", "config.yaml: line 2, column "),
        ("a:\n\tb: 1", "config.yaml", "config.yaml: line 2, column 1: "),
        (
            "a: 1\nb: 2\na: 3",
            "config.yaml",
            "config.yaml: line 3, column 1: the key a is given twice (first in line 1)",
        ),
        ("load: {rate: 1, rate: 2}", "config.yaml", "config.yaml: line 1, column 17: the key rate is given twice"),
        ('{"a": {"b": 1, "b": 2}}', "c.json", "c.json: the key b is given twice"),
        ('{"a": 1,\n}', "c.json", "c.json: line 2, column 1: "),
        ('{"a": NaN}', "c.json", "c.json: cannot be read: NaN is not a number"),
        ("a: 1\n---\nb: 2", "config.yaml", "config.yaml: line 2, column 1: "),
        ("a: !!python/object:os.system x", "config.yaml", "config.yaml: line 1, column 4: could not determine"),
        ("a: !!binary aGk=", "config.yaml", "config.yaml: line 1, column 4: 'aGk=' is a bytes"),
        ("a: !!int x", "config.yaml", "config.yaml: cannot be read: "),
        ("a: &x [*x]", "config.yaml", "config.yaml: line 1, column 4: an alias refers to what it is part of"),
        ("? [a, b]\n: 1", "config.yaml", "config.yaml: line 1, column 3: a key must be text"),
        ("a: \x07", "config.yaml", "config.yaml: "),
    ],
)
def test_what_is_no_config(tmp_path: Path, text: str, name: str, wanted: str) -> None:
    (line,) = refused(put(tmp_path, text, name))
    assert line.startswith(wanted)


def test_what_is_no_file(tmp_path: Path) -> None:
    assert refused(tmp_path)[0].endswith("is a folder, not a config file")
    (line,) = refused("nope")
    assert line.startswith("nope: no such file, and no preset of that name (presets: ") and "quickstart" in line
    assert refused("../quickstart")[0].startswith("../quickstart: no such file")
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"name: \xe9")
    assert refused(latin) == ["latin.yaml: is not UTF-8 text (byte 6)"]
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * 5_000_000)
    assert refused(large) == ["large.yaml: is 5,000,000 bytes long: that is no config"]


def test_yaml_means_what_it_looks_like(tmp_path: Path) -> None:
    text = """
    name: "no"
    backend: {kind: openai, model: on, body: {a: yes, b: 1e3, c: 1_000, d: 010, e: 2026-11-21, f: 12:30, g: ~, h: .5}}
    workload: {kind: chat, think: 60s}
    load: {rate: 300/m, error_budget: 5%, sessions: 1_000, duration: 1e3, warmup: 2.5s}
    cost: {gpu_hour: 2, as_of: 2026-11-21}
    """
    experiment = load(put(tmp_path, text)).experiment
    assert experiment.backend.model == "on"
    assert experiment.backend.body == {
        "a": "yes", "b": 1000.0, "c": 1000, "d": 10, "e": "2026-11-21", "f": "12:30", "g": None, "h": 0.5,
    }  # fmt: skip
    assert experiment.load.rate == 5
    assert (experiment.load.error_budget, experiment.load.sessions, experiment.load.duration) == (0.05, 1000, 1000)
    assert experiment.load.warmup_s == 2.5
    assert experiment.cost is not None and experiment.cost.as_of == "2026-11-21"


def test_anchors_and_merge_keys_work_and_whole_numbers_may_be_keys(tmp_path: Path) -> None:
    text = """
    backend: {kind: openai, body: {logit_bias: {50256: -100}}}
    workload: &w {kind: chat, turns: &t {dist: geometric, mean: 2}, input_tokens: *t, output_tokens: {<<: *t, max: 3}}
    load: {concurrency: 1}
    """
    experiment = load(put(tmp_path, text)).experiment
    assert experiment.backend.body == {"logit_bias": {"50256": -100}}
    assert experiment.workload.model_dump()["output_tokens"] == {"dist": "geometric", "mean": 2, "max": 3}


# overrides


def test_overrides(tmp_path: Path) -> None:
    file = with_(tmp_path, slo=["a < 1"])
    overrides = [
        "load.concurrency=",
        "load.rate=300/m",
        "workload.turns={dist: geometric, mean: 2}",
        "workload.turns.max=9",
        "slo.0=ttft.p95 < 1s",
        "slo.1=error_rate < 1%",
        "backend.headers.x-team=[blue]",
        "limits.max_in_flight=8",
        "sweep.load.rate=[1, 2]",
    ]
    overrides[6] = "backend.headers.x-team=blue"
    loaded = load(file, overrides, seed=11)
    experiment = loaded.experiment
    assert (experiment.load.concurrency, experiment.load.rate, experiment.seed) == (None, 5, 11)
    assert experiment.workload.model_dump()["turns"] == {"dist": "geometric", "mean": 2, "max": 9}
    assert experiment.slo == ["ttft.p95 < 1s", "error_rate < 1%"]
    assert experiment.backend.headers == {"x-team": "blue"}
    assert experiment.limits.max_in_flight == 8
    assert experiment.sweep == {"load.rate": [1, 2]}
    assert load(file, ["seed=3"], seed=4).experiment.seed == 4


@pytest.mark.parametrize(
    ("override", "wanted"),
    [
        ("load.rate", "-o: 'load.rate' is not of the form path=value, as in load.rate=5/s"),
        ("=3", "-o: '=3' is not of the form path=value"),
        ("load..rate=3", "-o: 'load..rate=3' is not of the form"),
        ("slo.5=a", "-o: slo: has no item 5 (it has 0, the first is 0)"),
        ("slo.x=a", "-o: slo: has no item x"),
        ("workload.turns.max=3", "-o: workload.turns: is 2, which has no max"),
        ("load.concurency=3", "-o: load.concurency: unknown key. Did you mean load.concurrency?"),
        ("load.ramp=5%", "-o: load.ramp: '5%' is not a duration"),
        ("load.ramp=[", "-o load.ramp: line "),
        ("load.ramp.x=3", "-o: load.ramp: "),
    ],
)
def test_bad_overrides(tmp_path: Path, override: str, wanted: str) -> None:
    file = with_(tmp_path, slo=[], workload={"kind": "chat", "turns": 2})
    assert refused(file, override)[0].startswith(wanted)


def test_items_of_a_list_can_be_made_by_path(tmp_path: Path) -> None:
    file = with_(tmp_path, backend={**BASE["backend"], "body": {"stop": []}})
    assert load(file, ["backend.body.stop.0.x=1"]).experiment.backend.body == {"stop": [{"x": 1}]}


# environment


def test_environment_references(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_T_URL", "http://10.0.0.1:9")
    monkeypatch.setenv("HARNESS_T_N", "32")
    monkeypatch.setenv("HARNESS_T_EMPTY", "")
    file = with_(
        tmp_path,
        backend={
            "url": "${HARNESS_T_URL}/v1",
            "model": "${HARNESS_T_EMPTY:-m-1}",
            "body": {"a": ["$${x}", "${HARNESS_T_N}"]},
        },
        load={"concurrency": "${HARNESS_T_N}"},
    )
    loaded = load(file)
    assert loaded.experiment.backend.url == "http://10.0.0.1:9/v1"
    assert loaded.experiment.backend.model == "m-1"
    assert loaded.experiment.backend.body == {"a": ["${x}", "32"]}
    assert loaded.experiment.load.concurrency == 32
    assert loaded.origins["load.concurrency"] == "environment HARNESS_T_N"
    assert load(put(tmp_path, resolved(loaded.experiment), "again.yaml")).experiment == loaded.experiment


def test_bad_environment_references(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_T_API_KEY", "hunter2hunter2")
    file = with_(tmp_path, name="${HARNESS_T_NONE}", slo=["${1}"], backend={"model": "${HARNESS_T_API_KEY}"})
    assert refused(file) == [
        "config.yaml: backend.model: ${HARNESS_T_API_KEY} looks like a secret, which would be stored: write env:HARNESS_T_API_KEY where it is asked for",
        "config.yaml: name: environment variable HARNESS_T_NONE is not set",
        "config.yaml: slo.0: write ${NAME} or ${NAME:-default} ($${ for a literal ${)",
    ]


# secrets


def test_secrets_stay_references_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.config import references

    monkeypatch.setenv("HARNESS_T_KEY", "hunter2hunter2")
    (tmp_path / "token").write_text("swordfish\n")
    backend = {
        **BASE["backend"],
        "api_key": "env:HARNESS_T_KEY",
        "headers": {"Authorization": f"file:{tmp_path}/token", "x-team": "blue"},
        "launch": {"env": {"HF_TOKEN": "env:HARNESS_T_KEY", "OMP_NUM_THREADS": "1", "MAX_TOKENS": "9"}},
    }
    loaded = load(with_(tmp_path, backend=backend))
    assert references.api_key(loaded.experiment.backend) == "hunter2hunter2"
    assert references.headers(loaded.experiment.backend) == {"Authorization": "swordfish", "x-team": "blue"}
    assert references.launch_env(loaded.experiment.backend)["HF_TOKEN"] == "hunter2hunter2"
    assert loaded.secrets == ("hunter2hunter2", "swordfish", "hunter2hunter2")
    text = resolved(loaded.experiment)
    for told in (text, repr(loaded), str(loaded.origins)):
        assert "hunter2" not in told and "swordfish" not in told
    assert "api_key: env:HARNESS_T_KEY" in text
    assert references.api_key(BackendConfig()) is None and references.launch_env(BackendConfig()) == {}


def test_a_missing_secret_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    file = with_(tmp_path, backend={**BASE["backend"], "api_key": "env:HARNESS_T_NONE"})
    assert refused(file) == ["config.yaml: backend.api_key: environment variable HARNESS_T_NONE is not set"]
    assert load(file, resolve_secrets=False).secrets == ()


@pytest.mark.parametrize(
    ("backend", "path"),
    [
        ({"api_key": "sk-hunter2hunter2"}, "backend.api_key"),
        ({"api_key": 1234567890}, "backend.api_key"),
        ({"headers": {"Authorization": "Bearer hunter2"}}, "backend.headers"),
        ({"headers": {"X-Api-Key": "hunter2"}}, "backend.headers"),
        ({"headers": {"cookie": 1234567890}}, "backend.headers.cookie"),
        ({"launch": {"env": {"HF_TOKEN": "hunter2"}}}, "backend.launch.env"),
        ({"url": "http://me:hunter2@host/v1"}, "backend.url"),
    ],
)
def test_a_literal_secret_is_refused_and_not_repeated(tmp_path: Path, backend: dict[str, Any], path: str) -> None:
    (line,) = refused(with_(tmp_path, backend=backend))
    assert line.startswith(f"config.yaml: {path}: ")
    assert "hunter2" not in line and "1234567890" not in line


# what is decided statically


@pytest.mark.parametrize(
    ("sections", "wanted"),
    [
        ({"backend": None}, ["backend: is missing"]),
        ({"load": None}, ["load: is missing"]),
        ({"load": {"rate": 1, "concurrency": 2}}, ["load: give either concurrency (closed loop) or rate (open loop)"]),
        ({"load": {}}, ["load: give either concurrency (closed loop) or rate (open loop)"]),
        ({"load": 3}, ["load: 3 is not a section (key: value)"]),
        ({"backend": ["x"]}, ["backend: ['x'] is not a section (key: value)"]),
        ({"load": {"concurrency": 2, "arrivals": "poisson"}}, ["load: arrivals belong to an open loop (rate); in a closed loop a session starts when one ends"]),
        ({"load": {"rate": 2, "arrivals": "gamma"}}, ["load: arrivals: gamma needs cv, e.g. cv: 3"]),
        ({"load": {"rate": 2, "cv": 3}}, ["load: cv means nothing without arrivals: gamma"]),
        ({"load": {"rate": 2, "time_scale": 3}}, ["load: time_scale means nothing without arrivals: trace"]),
        ({"load": {"arrivals": "trace", "trace": "x", "rate": 1}}, ["load: a trace has its own rate: leave out rate and concurrency"]),
        ({"load": {"arrivals": "trace", "trace": "x", "ramp": 1}}, ["load: a trace has its own rate: leave out ramp"]),
        ({"load": {"rate": 2, "arrivals": "posson"}}, ["load.arrivals: 'posson' is not one of constant, poisson, gamma, trace. Did you mean poisson?"]),
        ({"load": {"rate": 2, "workers": "many"}}, ["load.workers: 'many' is not a whole number or auto"]),
        ({"load": {"rate": 2, "workers": 0}}, ["load.workers: must be 1 to 1024, or auto"]),
        ({"load": {"rate": 2, "warmup": -1}}, ["load.warmup: -1 is negative"]),
        ({"load": {"rate": 2, "warmup": True}}, ["load.warmup: True is neither a number of sessions nor a duration such as 10s"]),
        ({"load": {"rate": 2, "ramp": [1]}}, ["load.ramp: [1] is not a duration"]),
        ({"load": {"concurrency": 0}}, ["load.concurrency: 0 is not at least 1"]),
        ({"load": {"rate": 2, "error_budget": "500%"}}, ["load.error_budget: 5 is not at most 1"]),
        ({"workload": {"kind": "chatt"}}, ["workload.kind: unknown workload kind 'chatt'. Did you mean chat?"]),
        ({"workload": {"kind": 3}}, ["workload.kind: 3 is not text"]),
        ({"workload": {"turns": {"dist": "lognormal", "median": 3}}}, ["workload.turns: lognormal needs sigma"]),
        ({"workload": {"turns": {"dist": "geometric", "mean": 3, "maxx": 4}}}, ["workload.turns.maxx: unknown key. Did you mean workload.turns.max?"]),
        ({"workload": {"think": "soon"}}, ["workload.think: 'soon' is not a duration (write 250ms, 2s, 1.5m or 1h)"]),
        ({"backend": {"url": "localhost:8000"}}, ["backend.url: 'localhost:8000' is not an http:// or https:// URL"]),
        ({"backend": {"url": "http:///v1"}}, ["backend.url: 'http:///v1' is not a URL with a host"]),
        ({"backend": {"url": "http://h:x/v1"}}, ["backend.url: not a URL: Port could not be cast to integer value as 'x'"]),
        ({"backend": {"url": "http://h/v1?key=1"}}, ["backend.url: 'http://h/v1?key=1': a base URL has no ? or # part"]),
        ({"backend": {"stream": "perhaps"}}, ["backend.stream: 'perhaps' is not true or false"]),
        ({"backend": {"model": 7}}, ["backend.model: 7 is not text"]),
        ({"backend": {"launch": {"argz": []}}}, ["backend.launch.argz: unknown key. Did you mean backend.launch.args?"]),
        ({"backend": {"kind": "groq", "launch": "x"}}, ["backend.launch: 'x' is not a section (key: value)"]),
        ({"backend": {"kind": "azure", "url": "http://h/v1", "api_key": "env:K", "headers": "x"}}, ["backend.headers: the value is not a section (key: value)"]),
        ({"backend": {"kind": "azure", "url": "http://h/v1", "api_key": 5}}, ["backend.api_key: the value is not text"]),
        ({"backend": {"kind": "anthropic", "headers": ["a"], "api_key": "env:K"}}, ["backend.headers: the value is not a section (key: value)"]),
        ({"backend": {"kind": "anthropic", "api_key": 5}}, ["backend.api_key: the value is not text"]),
        ({"backend": {"kind": "responses", "launch": 3}}, ["backend.launch: 3 is not a section (key: value)"]),
        ({"slo": ["  "]}, ["slo.0: '  ' is not of length at least 1"]),
        ({"slo": "ttft < 1"}, ["slo: 'ttft < 1' is not a list"]),
        ({"cost": {"gpu_hour": 1, "price": {"input": 1, "output": 2}}}, ["cost: give exactly one of gpu_hour or accelerator (rented), owned, price (hosted)"]),
        ({"cost": {"price": {"input": 1}}}, ["cost.price.output: is missing"]),
        ({"cost": {"price": {"input": 1, "outptu": 2}}}, ["cost.price.output: is missing", "cost.price.outptu: unknown key. Did you mean cost.price.output?"]),
        ({"cost": {"owned": {"capex": 9, "kw": 1}}}, ["cost.owned: kw needs kwh_price, the price of a kWh"]),
        ({"telemetry": {"prometheus": "ftp://x"}}, ["telemetry.prometheus: 'ftp://x' is not an http:// or https:// URL"]),
        ({"seed": -1}, ["seed: -1 is not at least 0"]),
        ({"seed": 1.5}, ["seed: 1.5 is not a whole number"]),
        ({"name": "a/b"}, ["name: 'a/b' is not of the form ^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"]),
        ({"sweep": {"load.concurency": [1]}}, ["sweep.load.concurency: no such value to sweep. Did you mean load.concurrency?"]),
        ({"sweep": {"backend.launch.zzz.y": [1]}}, ["sweep.backend.launch.zzz.y: no such value to sweep."]),
        ({"sweep": {"load.rate": []}}, ["sweep.load.rate: [] is not of length at least 1"]),
        ({"concurrency": 3}, ["concurrency: unknown key. Did you mean load.concurrency?"]),
        ({"zzzzzz": 3}, ["zzzzzz: unknown key. Known: name, seed, backend, workload, load, limits, slo, gate, cost, telemetry, sweep."]),
    ],
)  # fmt: skip
def test_problems(tmp_path: Path, sections: dict[str, Any], wanted: list[str]) -> None:
    assert refused(with_(tmp_path, **sections)) == [f"config.yaml: {line}" for line in wanted]


def test_all_problems_at_once_but_at_most_ten(tmp_path: Path) -> None:
    file = with_(tmp_path, load={"concurency": 3, "timeout": "x"}, slo=[""], nme="x")
    lines = refused(file, "limits.max_in_flight=0")
    assert lines == [
        "config.yaml: load.timeout: 'x' is not a duration (write 250ms, 2s, 1.5m or 1h)",
        "config.yaml: load.concurency: unknown key. Did you mean load.concurrency?",
        "-o: limits.max_in_flight: 0 is not at least 1",
        "config.yaml: slo.0: '' is not of length at least 1",
        "config.yaml: nme: unknown key. Did you mean name?",
    ]
    many = refused(with_(tmp_path, slo=[0] * 13))
    assert len(many) == 11 and many[-1] == "... and 3 more"


def test_long_values_are_shortened(tmp_path: Path) -> None:
    (line,) = refused(with_(tmp_path, load={"concurrency": "x" * 500}))
    assert line.endswith("... is not a whole number") and len(line) < 150


def test_a_missing_package_is_answered_with_its_pip_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(group: str, name: str) -> Any:
        raise MissingExtra(f"backend kind '{name}'", "vllm")

    monkeypatch.setattr(registry, "load", missing)
    with pytest.raises(MissingExtra) as caught:
        load(with_(tmp_path))
    assert caught.value.remedy == "pip install 'inference-harness[vllm]'"


def test_free_places_can_be_swept(tmp_path: Path) -> None:
    sweep = {"backend.body.top_k": [1, 2], "workload.turns.mean": [2, 3], "load.concurrency": [1], "slo.0": ["a < 1"]}
    assert load(with_(tmp_path, sweep=sweep)).experiment.sweep == sweep


# the resolved config


def test_resolved_is_stable_whole_and_rerunnable(tmp_path: Path) -> None:
    for source_file in (Path("quickstart"), with_(tmp_path)):
        first = load(source_file)
        text = resolved(first.experiment)
        second = load(put(tmp_path, text, "resolved.yaml"))
        assert second.experiment == first.experiment
        assert resolved(second.experiment) == text
    assert text.startswith("name: run\nseed: 0\nbackend:\n  kind: openai\n")
    assert "null" not in text
    assert "  turns: {dist: geometric, mean: 3.5, max: 20}\n" in text


@pytest.mark.parametrize(
    "load_section",
    [
        {"concurrency": 3},
        {"rate": 3},
        {"rate": 3, "arrivals": "gamma", "cv": 3},
        {"rate": 3, "arrivals": "constant", "ramp": "1m", "warmup": "10s"},
        {"arrivals": "trace", "trace": "x.txt", "time_scale": 0.5, "warmup": 7},
    ],
)
def test_every_kind_of_load_is_rerunnable(tmp_path: Path, load_section: dict[str, Any]) -> None:
    experiment = load(with_(tmp_path, load=load_section)).experiment
    assert load(put(tmp_path, resolved(experiment), "r.yaml")).experiment == experiment


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), _JSON, max_size=4))
def test_what_is_written_is_read_back(data: dict[str, Any]) -> None:
    def no_problem(path: str, problem: str) -> None:
        raise AssertionError(problem)

    read = source.read(source.write({"body": data}), source="x")
    assert source.fill_in(read, no_problem, {}) == {"body": data}


@given(st.text(max_size=60) | st.text("{}[]:,&*!|>'\"%@`#-? \n\tab1.", max_size=40))
def test_no_text_makes_the_reader_raise_anything_else(text: str) -> None:
    with suppress(ConfigError):
        source.read(text, source="x")


def test_origins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_T_M", "m")
    file = with_(
        tmp_path,
        backend={"model": "${HARNESS_T_M}"},
        slo=["a < 1"],
        workload={"turns": {"dist": "geometric", "mean": 2}},
    )
    origins = load(file, ["slo.0=b < 1", "workload.turns=3"], seed=2).origins
    assert {
        path: origins[path]
        for path in ("backend.model", "slo.0", "workload.turns", "seed", "load.concurrency", "load.ramp")
    } == {
        "backend.model": "environment HARNESS_T_M",
        "slo.0": "override",
        "workload.turns": "override",
        "seed": "override",
        "load.concurrency": "file",
        "load.ramp": "default",
    }


def test_experiments_are_values(tmp_path: Path) -> None:
    import pickle

    experiment = load("quickstart").experiment
    assert pickle.loads(pickle.dumps(experiment)) == experiment
    with pytest.raises(ValueError, match="frozen"):
        experiment.seed = 3  # type: ignore[misc]
    assert Experiment.model_validate(BASE).load.measured_s is None
    assert Experiment.model_validate({**BASE, "load": {"concurrency": 1}}).load.measured_s == 60
