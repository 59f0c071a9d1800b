"""Prompt text: of the wanted length, the same everywhere, and unlike any earlier run's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.workloads.session import Text
from harness.workloads.text import CENSUS, NONCE_WORDS, PROBES, WORDS, TextCalibration, TextMaker, costs, filler, fit

EXACT = TextCalibration(a=0.0, b=1.0, m=0.0, source="server")
UNEVEN = "".join(str(1 + place * place % 5) for place in range(256))
COST = dict(zip(WORDS, map(int, UNEVEN), strict=True))


def user(key: str, tokens: int) -> Text:
    return Text("user", key, tokens)


def system(tokens: int, key: str = "system") -> Text:
    return Text("system", key, tokens, shared=True)


def test_words_are_256_different_plain_ones() -> None:
    assert len(set(WORDS)) == len(WORDS) == 256
    assert all(word.isascii() and word.isalpha() and word.islower() for word in WORDS)


def test_the_same_text_everywhere() -> None:
    # A golden text: a change of it breaks comparison with earlier runs, so it must be a decision.
    assert filler("golden", 6) == GOLDEN
    assert TextMaker(EXACT, "n").text(user("a", 50), 1) == TextMaker(EXACT, "n").text(user("a", 50), 1)


GOLDEN = "appear boat against bad call cloud"


@given(st.integers(1, 3000), st.floats(0, 20), st.floats(0.5, 3), st.text(max_size=5))
def test_length_follows_the_calibration(tokens: int, m: float, b: float, nonce: str) -> None:
    maker = TextMaker(TextCalibration(b=b, m=m), nonce)
    for text in (user("k", tokens), system(tokens)):
        words = len(maker.text(text, 3).split())
        assert words * b == pytest.approx(max(b, tokens - m), abs=0.51 * b)
        assert len(maker.text(text, 3, less=20 * b).split()) in (1, words - 20)


@given(st.integers(1, 3000), st.text(max_size=5), st.booleans())
def test_words_of_known_lengths_make_exact_texts(tokens: int, nonce: str, part: bool) -> None:
    maker = TextMaker(TextCalibration(b=2.5, m=9.0, costs=UNEVEN), nonce)
    told = maker.text(Text("user", "k", tokens + (0 if part else 9), part=part), 3)
    found = sum(COST[word] for word in told.split())
    least = 6 if part or not nonce else 26  # its first word may be longer than all, and so may its nonce
    assert found == tokens or (tokens < least and found < least)


@given(st.integers(10, 300), st.integers(0, 40), st.sampled_from(["", UNEVEN]))
def test_a_text_gives_up_its_last_words(tokens: int, less: int, known: str) -> None:
    maker = TextMaker(TextCalibration(b=1.0, m=0.0, costs=known), "")
    whole = maker.text(Text("user", "k", tokens, part=True), 0)
    left = maker.trimmed(whole, less)
    size = {word: COST[word] if known else 1 for word in WORDS}
    assert sum(size[word] for word in left.split()) == max(tokens - less, size[whole.split()[0]])
    assert len(left.split()) <= len(whole.split()) or known


def test_no_tokens_no_text() -> None:
    assert TextMaker(EXACT, "n").text(user("k", 0), 1) == ""


def test_nonce_words_come_first_and_only_they_differ() -> None:
    one, two = TextMaker(EXACT, "run-1"), TextMaker(EXACT, "run-2")
    for text in (user("k", 40), system(40)):
        first, second = one.text(text, 5).split(), two.text(text, 5).split()
        assert first[:NONCE_WORDS] != second[:NONCE_WORDS]
        assert first[NONCE_WORDS:] == second[NONCE_WORDS:]


def test_shared_text_is_shared_within_a_run_and_other_text_is_not() -> None:
    maker = TextMaker(EXACT, "run-1")
    assert maker.text(system(40), 1) == maker.text(system(40), 2)
    assert maker.text(user("k", 40), 1) != maker.text(user("k", 40), 2)
    assert maker.text(user("k", 40), 1) == maker.text(user("k", 40), 1)


def test_sessions_do_not_begin_alike() -> None:
    maker = TextMaker(EXACT, "run-1")
    begins = {" ".join(maker.text(user("k", 40), session).split()[:NONCE_WORDS]) for session in range(2000)}
    assert len(begins) == 2000


def test_without_nonce_the_key_alone_decides() -> None:
    maker = TextMaker(EXACT, "")
    assert (
        maker.text(user("k", 40), 1)
        == maker.text(user("k", 40), 2)
        == maker.text(system(40, "k"), 3)
        == filler("k", 40)
    )


def test_a_longer_text_of_a_key_begins_like_a_shorter_one() -> None:
    assert filler("k", 100).startswith(filler("k", 40))


def test_shared_texts_are_made_once() -> None:
    maker = TextMaker(EXACT, "n")
    assert maker.text(system(500), 1) is maker.text(system(500), 2)


@given(st.floats(-5, 30), st.floats(0, 30), st.floats(0.2, 4))
def test_fit_tells_a_prompt_from_a_message_and_a_word(a: float, m: float, b: float) -> None:
    found = fit([(said, a + m * len(said) + b * len(" ".join(said).split())) for said in PROBES])  # type: ignore[misc]
    assert (found.a, found.m, found.b) == pytest.approx((a, m, b), abs=1e-5)
    assert found.source == "server" and found.costs == ""


def test_fit_of_single_messages_has_one_overhead() -> None:
    found = fit([(["one"], 8), (["one two three"], 12)])
    assert (found.a, found.m, found.b) == pytest.approx((0, 6, 2))


def test_fit_with_words_of_known_lengths() -> None:
    counted = [(said, 3 + 5 * len(said) + sum(COST[word] for word in " ".join(said).split())) for said in PROBES]
    found = fit(counted, UNEVEN)
    assert (found.a, found.m, found.b) == pytest.approx((3, 5, sum(COST.values()) / 256))
    with pytest.raises(ValueError, match="the tokenizer tells"):
        fit([(said, 2 * tokens) for said, tokens in counted], UNEVEN)


def test_fit_refuses_what_says_nothing() -> None:
    with pytest.raises(ValueError, match="two different"):
        fit([(["one two"], 12), (["two three"], 13)])
    with pytest.raises(ValueError, match="rise"):
        fit([(["one"], 100), (["one two"], 90)])
    assert TextCalibration().source == "assumed"


def census(cost: list[int], line: int = 7) -> list[int]:
    """Token ids of CENSUS where words have these lengths."""
    assert CENSUS.count("\n") == len(cost) == 256
    return [1, 1000, *(id for place, size in enumerate(cost) for id in [line, *[1000 + place] * size])]


def test_the_length_of_each_word_is_read_from_the_tokens_of_all() -> None:
    assert costs(census([int(cost) for cost in UNEVEN])) == UNEVEN
    assert costs(census([2] * 256)) == ""
    assert costs(census([1] * 255 + [35])).endswith("1z")
    for wrong in ([], [1, 2, 3], census([0] * 256), census([40] * 256), census([1] * 256)[:-2]):
        with pytest.raises(ValueError, match="token"):
            costs(wrong)
