"""Counting the past of warming segments, as far as it goes without Kafka: what is counted, handed over and waited for."""

from __future__ import annotations

import dataclasses
import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cli import backfill, history
from cli.backfill import Backfill, Report, Shadows, how_far_back, paced, ruled
from cli.errors import UserError
from cli.history import Account
from cli.job_status import JobStatus
from flink_jobs.settings import Duration, Settings
from profiles import Event, decode_profile
from rules.rule_set import RuleSet, load_directory, next_version, warm

T = 1_767_225_600_000
DAY = 86_400_000
VIP = "segment: vip\nwhen: {event: Order, within: 30d}\n"
NEWS = "segment: news\nwhen: {event: Email Opened, within: 7d}\n"


def rule_set(folder: Path, *texts: str, previous: RuleSet | None = None) -> RuleSet:
    """Rules as the next version after `previous`, with what is new in them warming."""
    folder.mkdir(exist_ok=True)
    for text in texts:
        (folder / f"{text.split()[1]}.yaml").write_text(text)
    return warm(previous, next_version(previous, load_directory(folder)))


@pytest.fixture
def warming(tmp_path: Path) -> RuleSet:
    first = rule_set(tmp_path / "first", VIP)
    return rule_set(tmp_path / "second", VIP, NEWS, previous=first)


def event(customer: str, at: int, name: str = "Order", partition: int = 0, offset: int = 0) -> Event:
    return Event(f"{customer}{at}", name, T + at, customer, received_at=T + at, partition=partition, offset=offset)


# --- what is counted --------------------------------------------------------------------------------------------------


def test_all_rules_are_run_not_only_what_is_warming(warming: RuleSet) -> None:
    shadows = Shadows(ruled(warming, Settings()))
    shadows.take(event("anna", 0), 0, in_topic=True)
    shadows.take(event("anna", 5, "Email Opened"), 0, in_topic=True)
    (record,) = shadows.handovers(2, {0: 7})
    kind, version, customer, partition, cut, shadow = msgspec.msgpack.decode(record)
    assert (kind, version, customer, partition, cut) == (1, 2, "anna", 0, 6)
    profile = decode_profile(shadow)
    assert {name for name, entry in profile.segments.items() if entry[0]} == {"vip", "news"}
    assert profile.rules == 2 * 2 + 1, "a shadow is of the live version"


def test_each_customer_has_the_cut_of_their_partition(warming: RuleSet) -> None:
    shadows = Shadows(ruled(warming, Settings()))
    shadows.take(event("anna", 0, partition=0, offset=3), 0, in_topic=True)
    shadows.take(event("bert", 0, partition=2, offset=8), 0, in_topic=True)
    shadows.take(event("carl", 0, partition=0, offset=17), 0, in_topic=False)
    found = [msgspec.msgpack.decode(one)[2:5] for one in shadows.handovers(2, {0: 4, 1: 0, 2: 10})]
    assert found == [["anna", 0, 3], ["bert", 2, 9], ["carl", -1, -1]]
    assert shadows.ends == {0: 4, 2: 9}, "as far as there were events, which is how far the job has to come"


def test_the_job_s_limits_hold_for_the_past_too(warming: RuleSet) -> None:
    settings = Settings()
    short = dataclasses.replace(
        settings, job=dataclasses.replace(settings.job, remembered_messages=1, expiry=Duration(DAY))
    )
    limits = ruled(warming, short).plan.limits
    assert (limits.remembered_messages, limits.expiry) == (1, DAY)


@pytest.mark.parametrize(
    ("vip", "news", "days"),
    [
        ("", "", None),
        ("", "backfill: 90d\n", 90),
        ("backfill: 365d\n", "backfill: 90d\n", 90),
        ("when: {event: Order, within: 60d}\n", "backfill: 90d\n", None),
        ("when: {event: Order, within: 60d}\nbackfill: 12h\n", "backfill: 1h\n", 0.5),
    ],
)
def test_as_much_is_read_as_the_warming_segments_ask_for(
    tmp_path: Path, vip: str, news: str, days: float | None
) -> None:
    first = rule_set(tmp_path / "first", VIP)
    changed = "segment: vip\n" + vip if vip.startswith("when") else VIP + vip
    found = rule_set(tmp_path / "second", changed, NEWS + news, previous=first)
    assert how_far_back(found) == days


def test_a_file_goes_before_what_is_newer_in_the_topic(
    warming: RuleSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [{"event": "Order", "userId": "anna", "messageId": f"f{at}", "timestamp": T + at} for at in (0, 1000, 2000)]
    file = tmp_path / "past.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in lines))
    real = history.Source.events

    def events(self: Any, account: Account, **words: Any) -> Any:
        if self.file is not None:
            return real(self, account, **words)
        return iter([(event("anna", at, offset=at), T) for at in (1000, 2000, 2001, 3000)])

    monkeypatch.setattr(history.Source, "events", events)
    found = Backfill(Settings(), warming, Report(quiet=True), history=file).events(Account(), {0: 9})
    assert [(one.event_time - T, in_topic) for one, _, in_topic in found] == [
        (0, False),
        (1000, False),
        (2000, False),
        (2001, True),
        (3000, True),
    ]


# --- what is waited for -----------------------------------------------------------------------------------------------


class Words:
    """A reader to whom the job says one thing after the other."""

    def __init__(self, version: int, *words: dict[str, Any]) -> None:
        self.status = JobStatus(version)
        self.words = list(words)

    def poll(self) -> JobStatus:
        if self.words:
            self.status.note(self.words.pop(0))
        return self.status

    def close(self) -> None:
        self.words.clear()


def word(stage: str, subtask: int, parallelism: int = 2, version: int = 2) -> dict[str, Any]:
    return {"version": version, "accepted": True, "stage": stage, "subtask": subtask, "parallelism": parallelism}


@pytest.fixture
def waiting(warming: RuleSet, monkeypatch: pytest.MonkeyPatch) -> Backfill:
    """A backfill that does not wait in earnest; the newest version is its own."""
    monkeypatch.setattr(backfill, "_LOOK_EVERY", 0.0)
    monkeypatch.setattr(backfill, "highest_version", lambda _: 2)
    return Backfill(Settings(), warming, Report(quiet=True))


def test_all_subtasks_are_waited_for(waiting: Backfill) -> None:
    words = Words(
        2, word("warming", 0), word("live", 1), word("warming", 1, version=1), word("warming", 1), word("x", 0)
    )
    waiting.wait_for(words, "warming", "")  # type: ignore[arg-type]
    assert len(words.words) == 1


def test_a_job_that_refuses_is_believed(waiting: Backfill) -> None:
    refused = {"version": 2, "accepted": False, "detail": "unknown kind of condition"}
    with pytest.raises(UserError, match="refuses version 2: unknown kind of condition"):
        waiting.wait_for(Words(2, refused), "warming", "")  # type: ignore[arg-type]


def test_a_job_that_says_nothing_is_not_there(waiting: Backfill, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill, "FIRST_WORD_SECONDS", 0.0)
    with pytest.raises(UserError, match="says nothing of version 2") as refused:
        waiting.wait_for(Words(2), "warming", "")  # type: ignore[arg-type]
    assert "--resume" in refused.value.hint


def test_another_version_takes_over(waiting: Backfill, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill, "_NEWER_EVERY", 0.0)
    monkeypatch.setattr(backfill, "highest_version", lambda _: 3)
    waiting._newer_at = 0.0
    with pytest.raises(UserError, match="version 3 was published while version 2 was warming"):
        waiting.wait_for(Words(2, word("warming", 0)), "warming", "")  # type: ignore[arg-type]


def test_the_job_goes_past_the_cut_before_anything_is_handed_over(
    waiting: Backfill, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits = iter([{0: 3, 1: 0}, {0: 5, 1: 1}, {0: 6, 1: 2}, {}])
    looks: list[dict[int, int]] = []

    def committed(partition: int) -> int:
        if partition == 0:
            looks.append(next(commits))
        return looks[-1][partition]

    monkeypatch.setattr(backfill, "_commits", lambda _: nullcontext(committed))
    waiting.wait_past({0: 6, 1: 2})
    assert list(commits) == [{}]


class Time:
    """A clock that only sleeping and being held up move on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_customers_are_handed_over_at_a_steady_pace() -> None:
    time = Time()
    moments = [time.now for _ in paced([b""] * 1_000, 200, time, time.sleep)]
    assert moments[:10] == [100.0] * 10
    for begin in range(0, 800, 10):
        assert moments[begin + 199] - moments[begin] < 1 - 1 / 20 + 1e-6, "as fast as is allowed"
        assert moments[begin + 200] - moments[begin] >= 1 - 1e-6, "and no faster"


def test_a_handover_that_was_held_up_does_not_come_in_a_burst_afterwards() -> None:
    time = Time()
    moments = []
    for number, _ in enumerate(paced([b""] * 600, 200, time, time.sleep)):
        moments.append(time.now)
        if number == 100:
            time.now += 30
    assert moments[599] - moments[110] > 2.4 - 1e-6


def test_a_job_that_commits_nothing_is_not_waited_for_for_ever(
    waiting: Backfill, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 1_000_000, 1_000))
    monkeypatch.setattr(backfill, "_commits", lambda _: nullcontext(lambda partition: 3))
    monkeypatch.setattr(backfill, "highest_version", lambda _: 2)
    monkeypatch.setattr(backfill.time, "monotonic", lambda: next(clock))
    with pytest.raises(UserError, match="has committed nothing for 120 s as group 'segue'") as refused:
        waiting.wait_past({0: 6})
    assert "`job.name`" in refused.value.hint
