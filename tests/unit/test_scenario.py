"""Tests in rule files: virtual time, both sides of a boundary, and failures that say what was expected and why it was not so."""

from __future__ import annotations

from pathlib import Path

import pytest

from rules.errors import RuleErrors
from rules.measured import used_bounds
from rules.parse import parse_rule
from rules.population import Population
from rules.rule_set import load_directory
from rules.scenario import Result, run_scenarios

CATALOG = Path(__file__).parents[2] / "rules" / "catalog"
SILENCE = "{sequence: {steps: [{event: Cart}, {not: Order, for: 30m}]}}\nexit: {on: Order, after: 72h}"
WINDOW = "{event: View, within: 7d}"


def run(when: str, given: str, expect: str, more: str = "") -> Result:
    text = f"segment: x\nwhen: {when}\ntests:\n- name: story\n  given: [{given}]\n  expect: [{expect}]\n{more}"
    rule = parse_rule(text, "x.yaml")
    (result,) = run_scenarios(rule.segment, rule.scenarios)
    return result


def messages(result: Result) -> list[str]:
    return [failure.message for failure in result.failures]


def test_the_catalogue() -> None:
    rules = load_directory(CATALOG)
    assert rules.warnings == ()
    for segment in rules.segments:
        results = run_scenarios(segment, rules.scenarios[segment.name], rules.segments)
        assert len(results) >= 3, segment.name
        assert [str(failure) for result in results for failure in result.failures] == []


@pytest.mark.parametrize(
    ("when", "given", "expect"),
    [
        (WINDOW, "{at: 0m, event: View}", "{at: 0m, entered: true}, {at: 6d23h59m59.999s, in: true}, {at: 7d, exited: true}"),
        (WINDOW, "{at: -10d, event: View}", "{at: -10d, entered: true}, {at: -3d, exited: true}, {at: 0m, in: false}"),
        (SILENCE, "{at: 0m, event: Cart}", "{at: 29m59.999s, in: false}, {at: 30m, entered: true, in: true}"),
        (SILENCE, "{at: 0m, event: Cart}", "{at: 30m, entered: true}, {at: 72h30m, exited: true}"),
        # the order of the lines means nothing
        (SILENCE, "{at: 40m, event: Order}, {at: 0m, event: Cart}", "{at: 40m, exited: true}, {at: 30m, entered: true}"),
        ("{trait: {consent: true}}", "{at: 0m, identify: {consent: true}}, {at: 1m, identify: {consent: false}}",
         "{at: 0m, entered: true}, {at: 1m, exited: true}"),
        ("{event: View, within: 1d, where: {context.device.type: mobile}}",
         "{at: 0m, event: View, context: {device: {type: mobile}}}", "{at: 0m, entered: true}"),
        # an event that comes late counts at its time, and takes effect when it comes
        (WINDOW, "{at: 0m, arrives: 2d, event: View}", "{at: 47h59m59.999s, in: false}, {at: 2d, entered: true}, {at: 7d, exited: true}"),
    ],
)  # fmt: skip
def test_what_holds_passes(when: str, given: str, expect: str) -> None:
    assert messages(run(when, given, expect)) == []


@pytest.mark.parametrize(
    ("when", "given", "expect", "message"),
    [
        (WINDOW, "{at: 0m, event: View}", "{at: 0m, entered: true}, {at: 7d, in: true}, {at: 7d, exited: true}",
         "expected the customer to be in at 7d, but they are out, having exited at 7d"),
        (WINDOW, "{at: 0m, event: View}", "{at: 0m, entered: true}, {at: 6d23h59m59.999s, in: false}",
         "expected the customer to be out at 6d23h59m59.999s, but they are in, having entered at 0m"),
        (SILENCE, "{at: 0m, event: Cart}", "{at: 29m59.999s, entered: true}, {at: 31m, in: true}",
         "expected entered at 29m59.999s, but the customer has not entered"),
        (SILENCE, "{at: 0m, event: Cart}", "{at: 30m, entered: true}, {at: 30m0.001s, entered: true}",
         "expected entered at 30m0.001s, but entered at 30m"),
        (SILENCE, "{at: 0m, event: Cart}, {at: 30m, event: Order}", "{at: 30m, entered: true}",
         "expected entered at 30m, but the customer has not entered"),
    ],
)  # fmt: skip
def test_what_does_not_hold_fails(when: str, given: str, expect: str, message: str) -> None:
    assert f"'story': {message}" in messages(run(when, given, expect))


def test_a_transition_that_no_line_expects_fails() -> None:
    (failure,) = run(WINDOW, "{at: 0m, event: View}", "{at: 8d, in: false}, {at: 0m, entered: true}").failures
    assert failure.message == "'story': the customer exited at 7d (by timer), which no line expects"
    assert (failure.file, failure.line, failure.column) == ("x.yaml", 4, 3)
    assert any("exited: true" in line for line in failure.evidence)


def test_transitions_any_lets_it_pass() -> None:
    given, expect = "{at: 0m, event: View}", "{at: 8d, in: false}, {at: 0m, entered: true}"
    assert run(WINDOW, given, expect, "  transitions: any\n").passed


def test_what_happens_after_the_last_expectation_is_not_looked_at() -> None:
    assert run(WINDOW, "{at: 0m, event: View}", "{at: 0m, entered: true}").passed


def test_a_failure_shows_the_numbers_that_decided() -> None:
    result = run("{event: View, within: 7d, count: {gte: 3}}", "{at: 0m, event: View}", "{at: 1m, in: true}")
    (failure,) = result.failures
    assert (failure.line, failure.column) == (6, 12)
    assert failure.evidence == ("View within 7d: does not hold (actual 1, threshold {'gte': 3})",)
    assert str(failure).startswith("x.yaml:6:12: 'story': expected the customer to be in at 1m")


def test_a_failure_says_which_event_did_not_count() -> None:
    given = "{at: 0m, event: View, id: one}, {at: 1m, event: View, id: one}"
    (failure,) = run("{event: View, within: 7d, count: {gte: 2}}", given, "{at: 1m, in: true}").failures
    assert "the event given at line 5 did not count, it was duplicate" in failure.evidence


def test_nothing_given_by_then() -> None:
    (failure,) = run(WINDOW, "{at: 1d, event: View}", "{at: 0m, in: true}, {at: 1d, entered: true}").failures
    assert failure.evidence == ("nothing has arrived yet",)


def test_an_event_that_is_never_tested_is_warned_of() -> None:
    text = (
        f"segment: x\nwhen: {WINDOW}\ntests:\n- given: [{{at: 1d, event: View}}]\n  expect: [{{at: 0m, in: false}}]\n"
    )
    (warning,) = parse_rule(text, "x.yaml").warnings
    assert str(warning) == "x.yaml:4:11: nothing is expected after this event, so it is not tested"


def test_the_start_can_be_told() -> None:
    result = run(WINDOW, "{at: 0m, event: View}", "{at: 0m, entered: true}", "  now: 2030-01-01T00:00:00Z\n")
    assert result.passed
    assert result.scenario.now == 1_893_456_000_000


BEST = "{rfm: {event: Order, of: properties.total, within: 30d, recency_score: {gte: 4}, monetary_score: {eq: 5}}}"
SPREAD = "  population: {recency: [1d, 2d, 3d, 4d], monetary: [50, 100, 200, 500]}\n"


@pytest.mark.parametrize(
    ("given", "expect"),
    [
        # On a bound one is in the lower fifth, a millionth above it in the higher one.
        ("{at: 0m, event: Order, properties: {total: 500}}", "{at: 0m, in: false}"),
        ("{at: 0m, event: Order, properties: {total: 500.000001}}",
         "{at: 0m, entered: true}, {at: 2d, in: true}, {at: 48h0.001s, exited: true}"),
        ("{at: 0m, event: Order, properties: {total: 400}}, {at: 1d, event: Order, properties: {total: 101}}",
         "{at: 23h59m59.999s, in: false}, {at: 1d, entered: true}, {at: 3d, in: true}, {at: 72h0.001s, exited: true}"),
    ],
)  # fmt: skip
def test_a_test_says_how_all_customers_are_spread(given: str, expect: str) -> None:
    assert messages(run(BEST, given, expect, SPREAD)) == []


def test_without_a_population_nobody_has_a_score_whatever_was_measured(tmp_path: Path) -> None:
    given = "[{at: 0m, event: Order, properties: {total: 9000}}]"
    tests = f"tests:\n- name: story\n  given: {given}\n  expect: [{{at: 0m, in: true}}]\n"
    (tmp_path / "x.yaml").write_text(f"segment: x\nwhen: {BEST}\n{tests}")
    key = "of Order within 30d"
    bounds = {f"recency {key}": (1.0, 2.0, 3.0, 4.0), f"monetary (properties.total) {key}": (1.0, 2.0, 3.0, 4.0)}
    (tmp_path / "population.json").write_text(Population(bounds).to_text())
    rules = load_directory(tmp_path)
    assert used_bounds(rules.segments[0], rules.population) == bounds
    (result,) = run_scenarios(rules.segments[0], rules.scenarios["x"], rules.segments)
    (failure,) = result.failures
    assert failure.evidence[1:] == (
        "nobody has a `monetary_score`: the test's `population` does not say how that is spread",
        "nobody has a `recency_score`: the test's `population` does not say how that is spread",
    )


def test_a_population_also_holds_for_the_segments_that_a_rule_asks_for() -> None:
    best = parse_rule(f"segment: best\nwhen: {BEST}\n", "best.yaml").segment
    given = "[{at: 0m, event: Order, properties: {total: 501}}]"
    text = f"segment: x\nwhen: {{segment: best}}\ntests:\n- name: story\n  given: {given}\n  expect: [{{at: 0m, entered: true}}]\n"
    with_it, without = parse_rule(text + SPREAD, "x.yaml"), parse_rule(text, "x.yaml")
    for rule, passes in ((with_it, True), (without, False)):
        (result,) = run_scenarios(rule.segment, rule.scenarios, (rule.segment, best))
        assert result.passed is passes


def test_two_tests_of_a_rule_may_stand_in_two_populations() -> None:
    one = "- name: {name}\n  given: [{{at: 0m, event: Order, properties: {{total: 60}}}}]\n  expect: [{{at: 0m, in: {inside}}}]\n"
    one += "  transitions: any\n  population: {{monetary: {bounds}}}\n"
    when = "{rfm: {event: Order, of: properties.total, within: 30d, monetary_score: {gte: 3}}}"
    text = f"segment: x\nwhen: {when}\ntests:\n" + one.format(name="poor", inside="true", bounds=[10, 20, 30, 40])
    rule = parse_rule(text + one.format(name="rich", inside="false", bounds=[60, 70, 80, 90]), "x.yaml")
    assert [result.passed for result in run_scenarios(rule.segment, rule.scenarios)] == [True, True]


def test_a_population_that_no_rule_asks_for_is_a_mistake() -> None:
    spread = "  population: {frequency: [1, 2, 3, 4], recency: [1d, 2d, 3d, 4d], monetary: [1, 2, 3, 4]}\n"
    (failure,) = run(BEST, "{at: 0m, event: Order}", "{at: 0m, in: false}", spread).failures
    assert str(failure).startswith("x.yaml:4:3: 'story': no rule in this test compares a `frequency_score`")


@pytest.mark.parametrize(
    ("population", "message", "hint"),
    [
        ("[1, 2]", "7:15: `population` must be a mapping, not a list", "population: {monetary: [50, 100, 200, 500]}"),
        ("{}", "7:15: `population` is empty", "or leave it out"),
        ("{recensy: [1d, 2d, 3d, 4d]}", "7:16: unknown key 'recensy'", "did you mean 'recency'?"),
        ("{monetary: [1, 2, 3]}", "7:26: `monetary` needs at least 4 entries", "the four bounds"),
        ("{monetary: [1, 2, 3, 4, 5]}", "7:26: `monetary` has 5 entries, more than 4", ""),
        ("{monetary: [1, 3, 2, 4]}", "7:26: the bounds of `monetary` must ascend", "one fifth"),
        ("{monetary: [1, 9000000000000, 3, 4]}", "7:30: a bound of `monetary` must be a number within", ""),
        ("{monetary: [1, true, 3, 4]}", "7:30: a bound of `monetary` must be a number within", ""),
        ("{recency: [1d, 2d, 3, 4d]}", "7:34: a bound of `recency` must be a duration", "add the unit: 3d"),
        ("{frequency: [1, 1.5, 2, 3]}", "7:31: a bound of `frequency` must be a whole number, not 1.5", ""),
    ],
)
def test_a_population_that_is_written_wrong_is_refused(population: str, message: str, hint: str) -> None:
    with pytest.raises(RuleErrors) as refused:
        run(BEST, "{at: 0m, event: Order}", "{at: 0m, in: false}", f"  population: {population}\n")
    (error,) = refused.value.errors
    assert str(error).startswith(f"x.yaml:{message}")
    assert hint in error.hint
