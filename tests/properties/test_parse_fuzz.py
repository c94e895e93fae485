"""Whatever the bytes are: a rule set, or errors with their places. Never another exception, in the job least of all."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from rules import vocabulary
from rules.errors import RuleError, RuleErrors
from rules.parse import Rule, parse_rule
from rules.rule_set import RuleSet, read_header
from rules.scenario import run_scenarios

CATALOG = {
    file.name: file.read_text() for file in sorted((Path(__file__).parents[2] / "rules" / "catalog").glob("*.yaml"))
}
WORDS = sorted(
    {
        *vocabulary.CONDITION_KEYS,
        *vocabulary.SEGMENT_KEYS,
        *vocabulary.AGGREGATE_KEYS,
        *vocabulary.VALUE_OPERATORS,
        *(key for keys in vocabulary.MODIFIERS.values() for key in keys),
        *("7d", "0", "-1", "3", "1e9", "true", "null", "~", "[]", "{}", "properties.a", "any", "''"),
        *("9223372036854775807", "99999w", "\x00", "\ud800", "[[[[", "}"),
    }
)


def refusal(text: str, file: str) -> tuple[Rule | None, tuple[RuleError, ...]]:
    try:
        return parse_rule(text, file), ()
    except RuleErrors as refused:
        return None, refused.errors


def parsed(text: str, file: str) -> Rule | None:
    rule, errors = refusal(text, file)
    if rule is None:
        longest = max(map(len, text.split("\n")))
        assert errors
        for error in errors:
            assert (error.file, bool(error.message)) == (file, True)
            assert 1 <= error.line <= len(text.splitlines()) + 1
            assert 1 <= error.column <= longest + 2
        return None
    assert len(rule.segment.digest) == 16
    return rule


@given(st.text(max_size=300))
def test_any_text(text: str) -> None:
    parsed(text, "x.yaml")


@given(st.binary(max_size=300))
@example(b'{"format":1,"version":1,"created_at":0,"author":"","message":"","segments":{},"files":{"\\ud800.yaml":""}}')
@example(b'{"format":1,"version":1,"created_at":0,"author":"","message":"","segments":{},"files":{"a.yaml":"\\ud800"}}')
def test_any_bytes(payload: bytes) -> None:
    read_header(payload)
    with contextlib.suppress(RuleErrors):
        RuleSet.from_payload(payload)


@st.composite
def mutated(draw: st.DrawFn) -> tuple[str, str]:
    """A file of the catalogue in which some pieces were replaced, doubled or taken out."""
    file = draw(st.sampled_from(sorted(CATALOG)))
    text = CATALOG[file].partition("\ntests:")[0] if draw(st.booleans()) else CATALOG[file]
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.sampled_from((0, 0, 1, 2, 5, 20))))
        piece = draw(st.sampled_from(WORDS) | st.text(max_size=5) | st.just(text[start:end] * 2))
        text = text[:start] + piece + text[end:]
    return file, text


@given(mutated())
def test_a_damaged_file(damaged: tuple[str, str]) -> None:
    file, text = damaged
    rule = parsed(text, file)
    if rule is not None:
        # What is accepted can be run as well.
        run_scenarios(rule.segment, rule.scenarios)


_leaf = st.none() | st.booleans() | st.integers(-5, 2000) | st.floats(allow_nan=False) | st.sampled_from(WORDS)


def _tree(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(children, max_size=3) | st.dictionaries(st.sampled_from(WORDS), children, max_size=4)


@given(st.recursive(_leaf, _tree, max_leaves=20), st.recursive(_leaf, _tree, max_leaves=5))
def test_the_right_words_in_wrong_places(when: Any, leaves: Any) -> None:
    text = json.dumps({"segment": "x", "when": when, "exit": leaves})
    rule = parsed(text, "x.yaml")
    if rule is not None:
        payload = json.dumps(
            {"format": 1, "version": 1, "created_at": 0, "author": "", "message": "",
             "segments": {"x": 1}, "files": {"x.yaml": text}}
        )  # fmt: skip
        assert RuleSet.from_payload(payload.encode()).segments[0].digest == rule.segment.digest
