"""Rules whose state may become too large are refused, where they say so, with the bytes and with less that would do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cli.rule_files import load_rules
from rules.budget import MOST_OF_SEGMENT, MOST_TOGETHER
from rules.cost import total
from rules.errors import RuleError, RuleErrors
from rules.parse import parse_rule


def refused(folder: Path, **files: str) -> RuleError:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    with pytest.raises(RuleErrors) as caught:
        load_rules(folder)
    (error,) = caught.value.errors
    return error


PER = """segment: a
when:
  all:
    - {event: B, within: 7d}
    - {event: A, per: properties.id, within: 7d, count: {gte: COUNT}}
"""


def test_too_many_events_of_too_many_values(tmp_path: Path) -> None:
    error = refused(tmp_path, a=PER.replace("COUNT", "900"))
    assert (error.file, error.line, error.column) == (str(tmp_path / "a.yaml"), 5, 7)
    assert re.fullmatch(
        r"a customer's state for 'a' may take 545,\d{3} bytes, more than 262,144; "
        r"545,\d{3} of them for this condition: of 64 values the times of 900 events each",
        error.message,
    )
    assert "counted without `per` it takes 8,100 bytes" in error.hint


def largest_said(error: RuleError) -> int:
    found = re.match(r"up to (?:a count of )?(\d+)", error.hint)
    assert found is not None
    return int(found[1])


def test_the_count_that_is_said_to_fit_does(tmp_path: Path) -> None:
    fits = largest_said(refused(tmp_path, a=PER.replace("COUNT", "900")))
    (tmp_path / "a.yaml").write_text(PER.replace("COUNT", str(fits)))
    assert total(load_rules(tmp_path).plan) <= MOST_OF_SEGMENT
    refused(tmp_path, a=PER.replace("COUNT", str(fits + 3)))


def test_too_many_different_values(tmp_path: Path) -> None:
    text = "segment: d\nwhen:\n  aggregate: {fn: distinct, of: properties.id, event: A, within: 1d, gte: COUNT}\n"
    error = refused(tmp_path, d=text.replace("COUNT", "1000"))
    assert (error.line, error.column) == (3, 3)
    assert "1,000 values and when each was last seen" in error.message
    fits = largest_said(error)
    (tmp_path / "d.yaml").write_text(text.replace("COUNT", str(fits)))
    assert total(load_rules(tmp_path).plan) <= MOST_OF_SEGMENT
    refused(tmp_path, d=text.replace("COUNT", str(fits + 3)))


def test_too_many_sequences_of_one_value(tmp_path: Path) -> None:
    steps = ", ".join(
        f"{{sequence: {{per: properties.id, within: 1d, steps: [{{event: A}}, {{event: B{n}}}]}}}}" for n in range(3)
    )
    error = refused(tmp_path, s=f"segment: s\nwhen: {{any: [{steps}]}}\n")
    assert (error.line, error.column) == (2, 14)
    assert "leave `per` out" in error.hint


@pytest.mark.parametrize(
    ("condition", "count", "why", "cheaper"),
    [
        (
            "{aggregate: {fn: sum, of: properties.n, event: A NUMBER, within: 7d, gte: 2}}",
            43,
            "6,185 of them for this condition: 228 numbers with their times",
            "`event: ..., count: ...` keeps no more times than it asks for",
        ),
        (
            "{event: A NUMBER, within: 7d, count: {gte: 1000}}",
            30,
            "9,014 of them for this condition: the times of 1,000 events",
            "a smaller count keeps fewer",
        ),
    ],
)
def test_many_conditions_that_each_take_much(
    tmp_path: Path, condition: str, count: int, why: str, cheaper: str
) -> None:
    rule = "segment: m\nwhen:\n  any:\n" + "".join(
        f"    - {condition.replace('NUMBER', str(number))}\n" for number in range(count)
    )
    error = refused(tmp_path, m=rule)
    assert (error.line, error.column) == (4, 7), "the first of those that take most"
    assert error.message.endswith(why)
    assert cheaper in error.hint
    (tmp_path / "m.yaml").write_text(rule[: rule.rindex("    - ")])
    assert total(load_rules(tmp_path).plan) <= MOST_OF_SEGMENT


def test_who_only_shares_what_another_makes_large_is_not_refused(tmp_path: Path) -> None:
    small = "segment: small\nwhen: {event: A, per: properties.id, within: 7d}\n"
    error = refused(tmp_path, a=PER.replace("COUNT", "900"), small=small)
    assert error.file.endswith("a.yaml")


def test_all_together_may_not_take_too_much_either(tmp_path: Path) -> None:
    def files(count: int) -> dict[str, str]:
        when = "{event: A NUMBER, per: properties.id, within: 7d, count: {gte: 400}}"
        return {f"s{n:02}": f"segment: s{n:02}\nwhen: {when.replace('NUMBER', str(n))}\n" for n in range(count)}

    most = MOST_TOGETHER // 257_112
    error = refused(tmp_path, **files(most + 1))
    assert (error.file, error.line, error.column) == (str(tmp_path / "s00.yaml"), 2, 7)
    assert re.match(
        r"a customer's state for all segments may take 8,\d{3},\d{3} bytes, more than 8,388,608", error.message
    )
    assert "most take s00 (257,1" in error.message
    (tmp_path / f"s{most:02}.yaml").unlink()
    assert len(load_rules(tmp_path).segments) == most


def test_whoever_counts_more_than_is_kept_is_told_how_to_ask_for_it() -> None:
    with pytest.raises(RuleErrors) as caught:
        parse_rule("segment: x\nwhen: {event: A, within: 30d, count: {gte: 1000000}}\n", "x.yaml")
    (error,) = caught.value.errors
    assert (error.line, error.column) == (2, 44)
    found = re.search(r"`(aggregate: .*?)`", error.hint)
    assert found is not None
    asked = found[1].replace("...", "A")
    assert parse_rule(f"segment: x\nwhen:\n  {asked}\n", "x.yaml").segment.when is not None
