"""`segue tail`: which changes are shown, in which form, and how it ends."""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from cli import tail
from cli.changes import read_change
from cli.errors import UserError
from cli.tail import Repeats, show, start_time, wanted

EFFECTIVE = "2026-11-22T23:00:00.000Z"


def record(
    number: int, customer: str = "c1", segment: str = "vip", kind: str = "entered", **more: Any
) -> SimpleNamespace:
    data = {
        "customer": customer,
        "segment": segment,
        "version": 1,
        "sequence": number,
        "effective_at": EFFECTIVE,
        "emitted_at": EFFECTIVE,
        "cause": {"kind": "event", "event_id": "e", "event": "Order Completed", "event_time": EFFECTIVE},
        "evidence": [
            {"condition": "Order Completed", "holds": kind == "entered", "actual": 2, "threshold": {"gte": 2}}
        ],
        "scores": {},
        **more,
    }
    event = {"specversion": "1.0", "id": f"id-{number}", "type": f"segment.{kind}", "subject": customer, "data": data}
    return SimpleNamespace(value=json.dumps(event).encode())


ALL = wanted(None, None)


def shown(records: list[SimpleNamespace], check: Any = ALL, **options: Any) -> list[str]:
    console = Console(file=io.StringIO(), soft_wrap=True, width=80)
    show(iter(records), check, console, **{"as_json": False, "limit": None, **options})
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined,no-any-return]


def test_one_line_a_change_with_direction_customer_segment_and_reason() -> None:
    first, second = shown([record(1), record(2, kind="exited", customer="c2")])
    assert "→ enter" in first and "c1" in first and "vip" in first
    assert first.endswith("2 × Order Completed (≥ 2)")
    assert "← exit" in second and "c2" in second


def test_a_repeat_under_at_least_once_is_shown_once() -> None:
    assert len(shown([record(1), record(2), record(1), record(2), record(3)])) == 3


def test_only_the_segment_and_the_customer_asked_for() -> None:
    records = [
        record(1),
        record(2, customer="c2"),
        record(3, segment="lapsed"),
        record(4, customer="c2", segment="lapsed"),
    ]
    assert len(shown(records, wanted("vip", None))) == 2
    assert len(shown(records, wanted(None, "c2"))) == 2
    (line,) = shown(records, wanted("lapsed", "c2"))
    assert "c2" in line and "lapsed" in line


def test_a_repeat_of_what_is_filtered_out_does_not_count_for_the_limit() -> None:
    def endless() -> Iterator[SimpleNamespace]:
        number = 0
        while True:
            number += 1
            yield record(number, customer=f"c{number % 2}")

    console = Console(file=io.StringIO(), soft_wrap=True)
    show(endless(), wanted(None, "c1"), console, as_json=False, limit=3)
    assert len(console.file.getvalue().splitlines()) == 3  # type: ignore[attr-defined]


def test_json_is_one_object_a_line_and_says_what_kafka_holds() -> None:
    text = record(1, customer="zoë").value.decode()
    spread = SimpleNamespace(value=json.dumps(json.loads(text), indent=2).encode())
    (line,) = shown([spread], as_json=True)
    assert json.loads(line) == json.loads(text)


def test_what_is_no_transition_is_passed_over() -> None:
    assert len(shown([SimpleNamespace(value=None), SimpleNamespace(value=b"{"), record(1)])) == 1


def test_a_long_reason_stays_on_its_line() -> None:
    evidence = [{"condition": "x" * 110, "holds": True, "actual": 1, "threshold": {"gte": 1}}] * 3
    assert len(shown([record(1, evidence=evidence)])) == 1


def test_ids_are_remembered_up_to_a_bound() -> None:
    repeats = Repeats(2)
    assert [repeats(one) for one in ("a", "b", "a", "c", "a")] == [False, False, True, False, False]


def test_where_to_begin() -> None:
    assert start_time("beginning", 5) is None
    assert start_time("now", 5) == 5
    assert start_time("10m", 600_005) == 5
    with pytest.raises(ValueError, match="must be a duration"):
        start_time("yesterday", 5)


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    tail.add_parser(parser.add_subparsers(dest="command"))
    return parser.parse_args(["tail", *words])


def test_a_start_that_is_none_and_a_limit_of_nothing_are_the_users_errors() -> None:
    with pytest.raises(UserError, match="--from yesterday must be a duration"):
        tail.run(arguments("--from", "yesterday"))
    with pytest.raises(UserError, match="--limit 0"):
        tail.run(arguments("--limit", "0"))


def test_without_kafka_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGUE_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:9")
    monkeypatch.setattr("flink_jobs.topics.KafkaConsumer", _unreachable)
    with pytest.raises(UserError, match=r"no Kafka answers at 127\.0\.0\.1:9"):
        tail.run(arguments())


def _unreachable(**_: Any) -> None:
    from kafka.errors import KafkaConnectionError

    raise KafkaConnectionError("nobody")


def test_ctrl_c_ends_it_as_if_all_were_seen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: Any, **__: Any) -> Iterator[SimpleNamespace]:
        yield record(1)
        raise KeyboardInterrupt

    monkeypatch.setenv("SEGUE_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:9")
    monkeypatch.setattr(tail, "follow", interrupted)
    assert tail.run(arguments("--json")) == 0
    assert json.loads(capsys.readouterr().out)["id"] == "id-1"


def test_times_are_read_to_the_millisecond() -> None:
    change = read_change(record(1, effective_at="2026-11-22T23:00:00.001Z").value)
    assert change is not None and change.effective_at == 1_795_388_400_001
