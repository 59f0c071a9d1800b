"""Prompt text: of the wanted length, the same everywhere, and unlike any earlier run's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.workloads.session import Text
from harness.workloads.text import NONCE_WORDS, WORDS, TextCalibration, TextMaker, filler, fit

EXACT = TextCalibration(a=0.0, b=1.0, source="server")


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
def test_length_follows_the_calibration(tokens: int, a: float, b: float, nonce: str) -> None:
    maker = TextMaker(TextCalibration(a, b), nonce)
    for text in (user("k", tokens), system(tokens)):
        words = len(maker.text(text, 3).split())
        assert words == max(1, round((tokens - a) / b))


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


@given(
    st.floats(-5, 30),
    st.floats(0.2, 4),
    st.lists(st.integers(1, 5000), min_size=2, max_size=5, unique=True),
)
def test_fit_finds_the_line(a: float, b: float, words: list[int]) -> None:
    found = fit([(n, a + b * n) for n in words])  # type: ignore[misc]
    assert found.a == pytest.approx(a, abs=1e-5)
    assert found.b == pytest.approx(b, abs=1e-6)
    assert found.source == "server"


def test_fit_refuses_what_says_nothing() -> None:
    with pytest.raises(ValueError, match="two different"):
        fit([(10, 12), (10, 13)])
    with pytest.raises(ValueError, match="rise"):
        fit([(10, 100), (100, 90)])
    assert TextCalibration().source == "assumed"
