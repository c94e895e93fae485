"""Rule files drawn from the whole language, and files made to hurt: understood, or refused with a place, never anything else."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given

from profiles.document import MAX_BYTES
from rules.compiler import compile_plan
from rules.errors import SHOWN_ERRORS, RuleError, RuleErrors
from rules.parse import Rule, parse_rule
from tests.properties.rule_documents import Document, rule_files

HEAD = "segment: x\nwhen: "


def outcome(text: str) -> tuple[Rule | None, tuple[RuleError, ...]]:
    """The rule, or what is wrong with it."""
    try:
        return parse_rule(text, "x.yaml"), ()
    except RuleErrors as refused:
        return None, refused.errors


@given(rule_files())
def test_whatever_the_words_are(document: Document) -> None:
    text = json.dumps(document)
    rule, errors = outcome(text)
    assert (rule is None) == bool(errors)
    for error in errors:
        assert (error.file, error.line) == ("x.yaml", 1)
        assert 1 <= error.column <= len(text) and error.message
    if rule is not None:
        # What is accepted can be run as well.
        assert len(compile_plan([rule.segment]).segments) == 1


BOMBS: dict[str, Callable[[], str]] = {
    "anchors within anchors": lambda: (
        "a: &a [x, x]\n"
        + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(20))
    ),
    "an anchor that holds itself": lambda: f"{HEAD}&a {{all: [*a]}}\n",
    "merge keys": lambda: f"{HEAD}{{<<: {{event: A}}}}\n",
    "a tag that makes objects": lambda: f"{HEAD}!!python/object/apply:os.system [true]\n",
    "lists in lists": lambda: HEAD + "[" * 50_000,
    "conditions in conditions": lambda: HEAD + "{not: " * 30_000 + "{event: A}" + "}" * 30_000,
    "block mappings in block mappings": lambda: "".join(f"{' ' * n}not:\n" for n in range(1000)),
    "a huge text": lambda: f"{HEAD}{{event: {'A' * (MAX_BYTES - 100)}}}\n",
    "a huge number": lambda: f"{HEAD}{{event: A, count: {{gte: {'9' * 500_000}}}}}\n",
    "a huge duration": lambda: f"{HEAD}{{event: A, within: {'9' * 500_000}d}}\n",
    "a huge offset": lambda: (
        f"{HEAD}{{event: A}}\ntests: [{{given: [{{at: {'-' * 100_000}1m, event: A}}], expect: []}}]\n"
    ),
    "many unknown keys": lambda: f"{HEAD}{{event: A}}\n" + "".join(f"k{n}: 1\n" for n in range(60_000)),
    "many conditions": lambda: f"{HEAD}{{any: [{', '.join(['{event: A}'] * 40_000)}]}}\n",
    "many wrong conditions": lambda: f"{HEAD}{{any: [{', '.join(['{evnt: A}'] * 200)}]}}\n",
    "one key many times": lambda: f"{HEAD}{{{', '.join(['event: A'] * 50_000)}}}\n",
    "too large altogether": lambda: f"{HEAD}{{event: A}}\n#{'x' * MAX_BYTES}",
    "a pattern that is slow elsewhere": lambda: f"{HEAD}{{trait: {{a: {{matches: '(x+x+)+y{'{1000}' * 20}'}}}}}}\n",
    "quotes that do not end": lambda: f"{HEAD}{{event: '{'A' * 500_000}\n",
    "many documents": lambda: "---\nsegment: x\n" * 50_000,
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_file_made_to_hurt_is_refused_with_a_place(name: str) -> None:
    text = BOMBS[name]()
    with pytest.raises(RuleErrors) as refused:
        parse_rule(text, "x.yaml")
    assert 1 <= len(refused.value.errors) <= SHOWN_ERRORS
    for error in refused.value.errors:
        assert 1 <= error.line <= text.count("\n") + 2 and error.column >= 1
        assert len(str(error)) < 3000, "what is quoted from the file is short"
