"""History from topics and files: the same events as the job would have, and an account of each record."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from cli import history, replay
from cli.errors import UserError
from cli.history import Account, Arrived, Share, Source, Watermark, customer_of, customer_reader, decode, read_topic
from cli.lines import outcomes, read_map
from cli.processes import free_port
from flink_jobs.settings import Job, Kafka, Settings
from tests.consumers import FakeConsumer

T = 1_700_000_000_000
DAY = 86_400_000
ROOT = Path(__file__).parents[2]
RETAIL = ROOT.parent / "shared" / "data" / "online-retail-sample.csv.gz"


def line(customer: Any, at: int, name: str = "Order Completed", **more: Any) -> bytes:
    value = {
        "type": "track",
        "event": name,
        "userId": customer,
        "timestamp": at,
        "messageId": f"{customer}-{at}",
    } | more
    return json.dumps(value).encode()


def read(
    file: Path, share: Share | None = None, days: float | None = None, now: int = T + 1000 * DAY
) -> tuple[list[tuple[str, int, int]], Account]:
    account = Account()
    source = Source(Settings(), file=file)
    found = [
        (event.customer, event.event_time - T, watermark - T)
        for event, watermark in source.events(account, share, days, now)
    ]
    return found, account


def written(tmp_path: Path, lines: Iterable[bytes], name: str = "events.jsonl") -> Path:
    file = tmp_path / name
    text = b"".join(one + b"\n" for one in lines)
    file.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return file


# --- files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["events.jsonl", "events.jsonl.gz"])
def test_a_file_comes_in_the_order_of_event_time(tmp_path: Path, name: str) -> None:
    file = written(tmp_path, [line("b", T + 20), line("a", T + 10), line("c", T + 10), line(7, T + 30)], name)
    found, account = read(file)
    assert found == [("a", 10, 9), ("c", 10, 9), ("b", 20, 19), ("7", 30, 29)]
    assert (account.read, account.events, account.first_time, account.last_time) == (4, 4, T + 10, T + 30)


def test_what_is_no_event_is_counted_by_its_reason_and_ends_nothing(tmp_path: Path) -> None:
    bad = [b"{", line(None, T), line("a", T, event=""), line("a", 0), line("x\0y", T), b"[1]", line("a", T + 1)]
    found, account = read(written(tmp_path, bad))
    assert found == [("a", 1, 0)]
    assert account.refused == {
        "not JSON in UTF-8": 1,
        "no customer": 1,
        "field `event` must have 1 to 256 characters": 1,
        "field `timestamp` lies before 2000-01-01": 1,
        history.NO_CUSTOMER: 1,
        "not a JSON object": 1,
    }
    assert account.read == account.events + account.refused.total()


def test_days_count_back_from_the_newest_event_to_the_millisecond(tmp_path: Path) -> None:
    file = written(tmp_path, [line("a", T), line("b", T + 1), line("c", T + DAY)])
    found, account = read(file, days=1)
    assert [name for name, *_ in found] == ["b", "c"]
    assert account.older == 1


def test_an_event_from_the_future_does_not_say_what_is_new(tmp_path: Path) -> None:
    """It comes with a record time from which the core sees that it is to be quarantined."""
    file = written(tmp_path, [line("a", T), line("b", T + 900 * DAY)])
    account = Account()
    events = list(Source(Settings(), file=file).events(account, None, 1, T + DAY))
    assert [event.customer for event, _ in events] == ["a", "b"]
    future, watermark = events[1]
    assert future.received_at == T + DAY and future.event_time > future.received_at + Job.skew
    assert watermark < T and account.end == account.last_time == T


def test_shares_part_the_customers_and_their_accounts_add_up(tmp_path: Path) -> None:
    file = written(tmp_path, [b"?", *(line(f"c{number}", T + number) for number in range(200)), line("d", 5)])
    whole, account = read(file)
    parts = [read(file, Share(1.0, part, 3)) for part in range(3)]
    assert sorted(row for found, _ in parts for row in found) == sorted(whole)
    assert all(30 < len(found) < 110 for found, _ in parts)
    added = Account()
    for _, one in parts:
        assert one.read == one.events + one.refused.total() + one.older + one.others
        added.add(one)
    assert added == account


def test_a_sample_has_the_same_customers_each_time(tmp_path: Path) -> None:
    file = written(tmp_path, [line(f"c{number}", T + number) for number in range(2000)])
    tenth, account = read(file, Share(0.1))
    quarter, _ = read(file, Share(0.25))
    assert 140 < len(tenth) < 260
    assert {row[0] for row in tenth} < {row[0] for row in quarter}
    assert account.others == 2000 - len(tenth)


def test_a_file_through_a_field_map_is_what_its_replay_sends() -> None:
    if not RETAIL.exists():
        pytest.skip("the retail sample is not here")
    map_file = ROOT / "examples" / "online-retail" / "map.yaml"
    account = Account()
    events = [event for event, _ in Source(Settings(), file=RETAIL, field_map=map_file).events(account, now=T)]
    replayed = replay.Account()
    lines = replay.read_counted(RETAIL, replayed, 1)
    replay.play(
        outcomes(lines, RETAIL.name, read_map(map_file)),
        None,
        replayed,
        replay.Pace(None),
        topic="events",
        dead_letters=None,
        file=RETAIL.name,
    )
    assert account.events == len(events) == replayed.events
    assert account.refused == replayed.rejected
    assert (account.first_time, account.last_time) == (replayed.first_time, replayed.last_time)
    assert [event.event_time for event in events] == sorted(event.event_time for event in events)


def test_a_file_that_does_not_fit_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MOST_HELD", 1000)
    with pytest.raises(UserError, match="more events than fit"):
        read(written(tmp_path, [line("a", T + number) for number in range(10)]))


# --- topics ---------------------------------------------------------------------------------------------------------


def topic(
    partitions: dict[int, list[tuple[bytes | None, bytes | None, int]]],
    settings: Settings | None = None,
    **options: Any,
) -> tuple[list[Arrived], Account, FakeConsumer]:
    consumer, account = FakeConsumer(partitions), Account()
    found = list(read_topic(settings or Settings(), "events", account, connect=lambda: consumer, **options))
    assert consumer.closed
    return found, account, consumer


def record(customer: str, at: int, stamp: int | None = None) -> tuple[bytes, bytes, int]:
    return customer.encode(), line(customer, at), stamp if stamp is not None else at


def test_a_topic_comes_as_stored_with_the_place_of_each_record() -> None:
    found, account, _ = topic({0: [record("a", T), record("a", T + 5)], 3: [record("b", T + 2)]})
    assert sorted((one.partition, one.offset, one.customer, one.received_at - T) for one in found) == [
        (0, 0, "a", 0),
        (0, 1, "a", 5),
        (3, 0, "b", 2),
    ]
    assert account.read == 3
    assert [event.partition for event, _ in decode(found, account)].count(3) == 1


def test_nothing_beyond_the_given_ends_is_read() -> None:
    rows = [record("a", T + number) for number in range(10)]
    found, account, _ = topic({0: rows, 1: rows, 2: rows}, ends={0: 4, 1: 0})
    assert [(one.partition, one.offset) for one in found] == [(0, 0), (0, 1), (0, 2), (0, 3)]
    assert account.read == 4


def test_the_watermark_never_passes_an_event_that_is_less_late_than_the_disorder() -> None:
    fast = [record("a", T + 100_000 * number) for number in range(12)]
    slow = [record("b", T + 10_000 * number) for number in range(8)]
    found, _, _ = topic({0: fast, 1: slow})
    for one in found:
        at = json.loads(one.value)["timestamp"]
        assert one.watermark < at
    last = max(found, key=lambda one: (one.partition == 0, one.offset))
    assert last.watermark == T + 100_000 * 10 - Job.disorder - 1  # the slow one is at its end, and holds nobody up


def test_a_time_from_the_future_moves_no_watermark() -> None:
    ahead = record("a", T + 10 * DAY, stamp=T)
    found, account, _ = topic({0: [record("a", T), ahead, record("a", T + 1)]})
    assert found[-1].watermark == T - Job.disorder - 1
    assert account.end == T + 1


def test_records_that_are_no_events_are_refused_as_the_job_does() -> None:
    settings = Settings(job=Job(max_record_bytes=1024))
    rows = [
        (b"a", None, T),
        (None, line("a", T), T),
        (b"\xff", line("a", T), T),
        (b"a", b"x" * 1025, T),
        record("a", T),
    ]
    found, account, _ = topic({0: rows}, settings)
    assert len(found) == 1
    assert account.refused == {history.NO_VALUE: 1, history.NO_CUSTOMER: 2, history.TOO_LONG: 1}
    assert account.read == 5


def test_days_leave_out_what_happened_before_even_if_it_was_stored_late() -> None:
    """A file that was replayed into a topic has the time of the replay on all its records."""
    loaded = [record("a", T + day * DAY, stamp=T + 500 * DAY) for day in range(10)]
    found, account, _ = topic({0: loaded}, days=3)
    assert [one.offset for one in found] == [7, 8, 9]
    assert account.older == 7 and account.begun_before


def test_days_skip_records_that_were_stored_before() -> None:
    live = [record("a", T + day * DAY) for day in range(10)]
    found, account, _ = topic({0: live}, days=3)
    assert [one.offset for one in found] == [7, 8, 9]
    assert account.read < 10 and account.begun_before
    assert not topic({0: live})[1].begun_before
    assert not topic({0: live}, days=30)[1].begun_before


def test_a_topic_that_is_not_there_is_said_so() -> None:
    with pytest.raises(UserError, match="no topic 'events'"):
        topic({})


def test_a_partition_that_says_nothing_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "PATIENCE_SECONDS", -1.0)
    consumer = FakeConsumer({0: [record("a", T)]})
    consumer.poll = lambda timeout_ms: {}  # type: ignore[method-assign]
    with pytest.raises(UserError, match="nothing came from partition 0"):
        list(read_topic(Settings(), "events", Account(), connect=lambda: consumer))
    assert consumer.closed


@pytest.mark.parametrize(
    ("value", "customer"),
    [
        ({"userId": "anna"}, "anna"),
        ({"userId": 12}, "12"),
        ({"userId": 1.5}, "1.5"),
        ({"userId": True}, ""),
        ({"userId": None}, ""),
        ({"userId": {"id": "x"}}, ""),
        ({}, ""),
        ([], ""),
    ],
)
def test_the_customer_may_stand_in_the_value(value: Any, customer: str) -> None:
    assert customer_reader("userId")(b"key", json.dumps(value).encode()) == customer


def test_the_customer_may_stand_deeper_in_the_value() -> None:
    read = customer_reader("user.id")
    assert read(None, b'{"user": {"id": " anna "}}') == "anna"
    assert read(None, b"{") == ""


def test_a_customer_is_text_without_control_characters() -> None:
    assert customer_of("Jörg 日本".encode()) == "Jörg 日本"
    assert [customer_of(key) for key in (b"", b" ", b"a\nb", "a\x85b".encode(), b"\xff", b"a" * 513)] == [""] * 6
    assert customer_of("zero\u200bwidth".encode()) == "zero\u200bwidth"


def test_a_watermark_never_goes_back() -> None:
    watermark = Watermark([0, 1], 10)
    watermark.note(0, 100)
    assert watermark.value == 0
    watermark.note(1, 50)
    assert watermark.value == 39
    watermark.note(1, 40)
    watermark.end(1)
    assert watermark.value == 89
    watermark.end(0)
    assert watermark.value == 89


def test_where_a_topic_ends_is_asked_of_each_partition() -> None:
    consumer = FakeConsumer({0: [record("a", T)], 2: []})
    assert history._ends(consumer, "events") == {0: 1, 2: 0}
    assert consumer.closed
    assert history._ends(FakeConsumer({}), "nothing") == {}


def test_no_kafka_is_said_in_one_line() -> None:
    settings = Settings(kafka=Kafka(bootstrap_servers=f"127.0.0.1:{free_port()}"))
    with pytest.raises(UserError, match="no Kafka answers"):
        history.end_offsets(settings, "events")
    with pytest.raises(UserError, match="no Kafka answers"):
        list(read_topic(settings, "events", Account()))


def test_the_shares_of_a_topic_add_up() -> None:
    rows = [record(f"c{number}", T + number) for number in range(40)] + [
        (None, b"x", T),
        (b"c", None, T),
        (b"d", b"{", T),
    ]
    whole, parts = Account(), []
    everything = [one for one, _ in decode(topic({0: rows, 1: rows})[0], whole)]
    for part in range(3):
        found, account, _ = topic({0: rows, 1: rows}, share=Share(1.0, part, 3))
        list(decode(found, account))
        assert account.read == account.events + account.refused.total() + account.older + account.others
        parts.append(account)
    assert sum(account.events for account in parts) == len(everything) == 80
    added = Account()
    for account in parts:
        added.add(account)
    assert added.refused == {history.NO_CUSTOMER: 2, history.NO_VALUE: 2, "not JSON in UTF-8": 2}
    assert added.others == 0
