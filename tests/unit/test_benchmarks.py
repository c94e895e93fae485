"""The benchmarks' own arithmetic: what is compared must be what is said to be compared."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from benchmarks import results, rule_change, workload
from benchmarks.core_loop import expected
from benchmarks.engine import load_rules
from benchmarks.latency import percentile
from benchmarks.spec import Found
from benchmarks.tally import Tally
from benchmarks.throughput import ratios
from benchmarks.workload import PARTITIONS, RULES, Workload, copy_rules
from cli.errors import UserError
from flink_jobs.settings import Duration, Job, Settings, Topics, load_settings
from profiles import decode_event
from rules.rule_set import diff, load_directory


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workload, "CACHE", tmp_path / "cache")


def test_a_part_of_the_workload_is_its_beginning_whatever_was_made_before() -> None:
    alone = list(Workload(300, 100).records())
    whole = list(Workload(1_000, 100).records())
    assert whole[:300] == alone == list(Workload(1_000, 100).prefix(300).records())
    assert Workload(300, 100).ends() == [sum(one.partition == part for one in alone) for part in range(PARTITIONS)]


def test_a_record_lies_where_its_offset_says_and_keeps_its_customer_in_one_partition() -> None:
    places: dict[int, int] = {}
    homes: dict[bytes, int] = {}
    for record in Workload(500, 50).records():
        assert record.offset == places.get(record.partition, 0)
        places[record.partition] = record.offset + 1
        assert homes.setdefault(record.key, record.partition) == record.partition


def test_the_workload_is_clean_punctual_and_of_the_size_that_is_claimed() -> None:
    records = list(Workload(2_000, 200).records())
    for record in records:
        event = decode_event(record.value, record.key.decode(), record.at, record.partition, record.offset)
        assert 0 <= record.at - event.event_time <= 3_605_000  # a duplicate comes up to an hour later
        assert event.context.keys() == {"device"}
    assert 230 < sum(len(record.value) for record in records) / len(records) < 330


def test_timers_notice_all_that_is_noticed_without_them_and_more(tmp_path: Path) -> None:
    rules = load_rules(copy_rules(tmp_path / "rules"))
    part = Workload(4_000, 200)
    with_timers = expected(part, rules, 2**62, timers=True)
    without = expected(part, rules, 2**62, timers=False)
    assert without.seen < with_timers.seen
    assert len(rules.plan.segments) == len(RULES) == 10


def test_a_tally_tells_other_transitions_and_repeats_of_the_same() -> None:
    one, other = Tally(cut=10), Tally(cut=10)
    for tally, ids in ((one, ("a1", "b2", "b2")), (other, ("a1", "c3"))):
        for number, transition in enumerate(ids):
            tally.add(transition, 10 + (number > 0))
    assert one.summary().transitions == other.summary().transitions == 2
    assert one.summary().digest != other.summary().digest
    assert (one.summary().settled, one.summary().settled_digest) == (1, other.summary().settled_digest)
    assert (one.summary().repeated, other.summary().repeated) == (1, 0)


def test_the_obvious_job_is_compared_with_in_both_its_modes() -> None:
    rates = {"segue": 60_000.0, "obvious": 2_000.0, "obvious_thread": 10_000.0, "bytewax": 60_000.0, "core": 120_000.0}
    assert ratios(rates) == {"vs_obvious": 30.0, "vs_obvious_thread": 6.0, "vs_bytewax": 1.0, "of_bare_core": 0.5}
    assert ratios({"quix": 1.0}) == {}


def test_a_percentile_is_a_value_that_occurred() -> None:
    values = [float(one) for one in range(1, 101)]
    assert [percentile(values, share) for share in (0.5, 0.9, 0.99, 1.0)] == [50.0, 90.0, 99.0, 100.0]
    assert percentile([7.0], 0.5) == 7.0


def test_a_sender_that_is_held_up_is_told(tmp_path: Path) -> None:
    from benchmarks.latency import summary

    found = Found(latencies=[0.02] * 99 + [0.2], delays=[0.0] * 90 + [0.05] * 10, probes=101, missing=1, events=100)
    told = summary(found)
    assert (told["p50_ms"], told["max_ms"], told["missing"]) == (20.0, 200.0, 1)
    assert told["sender_fell_behind"]


def test_a_result_replaces_only_the_one_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "RESULTS.md"
    file.write_text("# R\n<!-- a -->\nold\n<!-- /a -->\nbetween\n<!-- b -->\nkept\n<!-- /b -->\n")
    monkeypatch.setattr(results, "RESULTS", file)
    results.write_section("a", "| new |", "a machine")
    text = file.read_text()
    assert "old" not in text and "| new |" in text and "on a machine" in text
    assert text.startswith("# R\n<!-- a -->\n") and text.endswith("between\n<!-- b -->\nkept\n<!-- /b -->\n")
    with pytest.raises(ValueError, match="no place"):
        results.write_section("c", "", "")


# --- a change of the rules --------------------------------------------------------------------------------------------


def answers(*given: tuple[float, float], missing: int = 0) -> Found:
    latencies = sorted(latency for _, latency in given)
    return Found(latencies, [0.0], len(given) + missing, missing, len(given), list(given))


def test_the_rules_change_by_one_segment_changed_and_one_new(tmp_path: Path) -> None:
    before = load_directory(copy_rules(tmp_path / "rules"))
    rule_change.change_rules(tmp_path / "rules")
    after = load_directory(tmp_path / "rules")
    kinds = {change.segment: change.kind for change in diff(before, after)}
    assert kinds == {"repeat-viewer": "changed", "keen-viewer": "added"}
    with pytest.raises(UserError, match=r"repeat-viewer\.yaml is not the rule"):
        rule_change.change_rules(tmp_path / "rules")


def test_lag_is_the_slowest_probe_of_a_change_and_its_aftermath_above_the_calm_s_median() -> None:
    calm = [(90.0, 0.02), (95.0, 0.02), (99.999, 3.0)]
    found = rule_change.summary(answers(*calm, (100.0, 0.5), (110.0, 0.1), (110.001, 0.9)), 100.0, 110.0)
    assert (found["lag_ms"], found["lag_p99_ms"], found["holds"]) == (880.0, 480.0, True)
    assert [one["second"] for one in found["by_second"]] == [-5, -1, 0, 10]
    assert found["phases"]["calm"] == {"p50_ms": 20.0, "p99_ms": 3000.0, "max_ms": 3000.0}


@pytest.mark.parametrize(("slowest", "missing", "holds"), [(1.02, 0, True), (1.021, 0, False), (0.5, 1, False)])
def test_a_second_of_lag_is_the_most_and_a_probe_without_an_answer_is_too_much(
    slowest: float, missing: int, holds: bool
) -> None:
    given = answers((99.0, 0.02), (100.0, slowest), (111.0, 0.02), missing=missing)
    assert rule_change.summary(given, 100.0, 110.0)["holds"] is holds


def test_a_change_without_a_calm_before_it_is_not_measured() -> None:
    with pytest.raises(UserError, match="no probe"):
        rule_change.summary(answers((100.0, 0.1), (111.0, 0.1)), 100.0, 110.0)


def test_what_the_job_said_counts_from_the_beginning_of_the_change() -> None:
    said = [
        {"version": 1, "stage": "live", "at": "1970-01-01T00:01:00Z", "detail": "10 segments"},
        {"version": 2, "stage": "warming", "at": "1970-01-01T00:01:42.500Z", "detail": "11 segments, 2 warming"},
    ]
    assert rule_change.stages(said, 100.0) == {"warming": {"seconds": 2.5, "detail": "11 segments, 2 warming"}}


def test_the_change_is_applied_to_the_very_job_that_runs(tmp_path: Path) -> None:
    ours = Settings(topics=Topics(events="e", rules="r"), job=Job(name="j", disorder=Duration(1_500)))
    file = tmp_path / "settings.yaml"
    file.write_bytes(msgspec.json.encode(rule_change.settings_as_document(ours)))
    read = load_settings(file, {})
    assert (read.topics, read.job, read.checkpoints.interval) == (ours.topics, ours.job, ours.checkpoints.interval)
