"""The editors' schema and the parser agree: nothing that the parser takes is marked as wrong, no unknown key is let pass by either."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from profiles.document import load
from rules import reference
from rules.errors import RuleErrors
from rules.parse import Rule, parse_rule
from rules.schema import rule_schema
from tests.properties.rule_documents import Document, rule_files

VALIDATOR = Draft202012Validator(rule_schema())
FREE = {"where", "trait", "context", "identify", "properties", "engagement"}
"""Keys under which names are the customers' own."""


def parsed(document: Document) -> Rule | None:
    try:
        return parse_rule(json.dumps(document), "x.yaml")
    except RuleErrors:
        return None


def complaints(document: Document) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(document)]


@given(rule_files())
def test_what_the_parser_takes_the_schema_takes(document: Document) -> None:
    if parsed(document) is not None:
        assert complaints(document) == []


def places(node: Any, within: str = "") -> Iterator[dict[str, Any]]:
    """The mappings in which only known keys may stand."""
    if isinstance(node, dict):
        if within not in FREE:
            yield node
        for key, inner in node.items():
            if within not in FREE:
                yield from places(inner, key)
    elif isinstance(node, list):
        for inner in node:
            yield from places(inner, within)


GOOD: list[Document] = [
    {"segment": "x", "when": load(entry.example, "x.yaml").plain()} for entry in reference.CONDITIONS.values()
]
GOOD += [
    {"segment": "x", "when": {"event": "A", "within": "1d"}, **load(part.example, "x.yaml").plain()}
    for part in reference.PARTS.values()
]
GOOD.append(
    {"segment": "x", "when": {"event": "A", "without": {"event": "B"}, "per": "properties.id", "within": "1d"},
     "tests": [{"given": [{"at": "0m", "event": "A"}], "expect": [{"at": "0m", "in": False}]}]}
)  # fmt: skip


@given(st.data(), st.sampled_from(GOOD), st.sampled_from(("foo", "withn", "Where", "vip", "0")))
def test_an_unknown_key_is_refused_by_both(data: st.DataObject, good: Document, key: str) -> None:
    assert parsed(good) is not None and complaints(good) == []
    bad = copy.deepcopy(good)
    found = list(places(bad))
    place = found[data.draw(st.integers(0, len(found) - 1))]
    assume(key not in place)
    place[key] = "x"
    assert parsed(bad) is None
    assert complaints(bad) != []
