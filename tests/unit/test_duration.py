"""Durations as words: what they mean, what is no duration, and that writing and reading are inverse."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.duration import format_duration, parse_duration


@pytest.mark.parametrize(
    ("words", "milliseconds"),
    [
        ("250ms", 250),
        ("0s", 0),
        ("45s", 45_000),
        ("29m59.999s", 1_799_999),
        ("1.5s", 1_500),
        ("0.001s", 1),
        ("24h", 86_400_000),
        ("1d", 86_400_000),
        ("2w", 1_209_600_000),
        ("1h30m", 5_400_000),
        ("1d1ms", 86_400_001),
        ("90m", 5_400_000),
    ],
)
def test_meaning(words: str, milliseconds: int) -> None:
    assert parse_duration(words) == milliseconds


@pytest.mark.parametrize(
    "words",
    [
        "",
        "7",
        "d",
        "7 d",
        " 7d",
        "7d ",
        "7D",
        "1.5h",
        "30m1h",
        "1h1h",
        "-1d",
        "+1d",
        "1e3s",
        "1.0000s",
        "７d",
        "7d\n",
        "1y",
    ],
)
def test_no_durations(words: str) -> None:
    with pytest.raises(ValueError, match="must be a duration such as 30m"):
        parse_duration(words)


@given(st.integers(0, 10**15))
def test_what_is_written_is_read_back(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds)) == milliseconds
