"""`segue explain` without a broker: what is asked, what is said of the answer, and a moment of the past by replaying events."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cli import control, history
from cli.history import Arrived
from cli.main import main
from tests.fixtures.rules_topic import RulesTopic

T = 1_767_225_600_000
DAY = 86_400_000
VIP = "segment: vip\nwhen: {event: Order, within: 30d, count: {gte: 2}}\n"


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> RulesTopic:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEGUE_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    found = RulesTopic(monkeypatch)
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "vip.yaml").write_text(VIP)
    assert main(["rules", "apply", "rules"]) == 0
    return found


@pytest.fixture
def past(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anna orders on days 0, 10 and 20, among others."""

    def arrivals(*_: object) -> Iterator[Arrived]:
        for day, customer in ((0, "anna"), (5, "bert"), (10, "anna"), (20, "anna")):
            at = T + day * DAY
            value = json.dumps({"event": "Order", "timestamp": at, "messageId": f"{customer}{day}"}).encode()
            yield Arrived(customer, value, at, 0, day, at - 1)

    monkeypatch.setattr(history.Source, "arrivals", arrivals)


def told(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.parametrize(("day", "inside"), [(9.99, False), (10, True), (39.99, True), (50, False)])
def test_a_moment_of_the_past_is_as_it_was(
    topic: RulesTopic, past: None, capsys: pytest.CaptureFixture[str], day: float, inside: bool
) -> None:
    at = f"{T + int(day * DAY)}"
    assert main(["explain", "anna", "vip", "--at", at, "--json"]) == 0
    found = told(capsys)
    assert (found["customer"], found["segments"][0]["segment"]) == ("anna", "vip")
    assert found["segments"][0]["in"] is inside


def test_who_is_not_known_is_said_to_be_so(topic: RulesTopic, past: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "zoe", "--at", "now"]) == 1
    assert "customer 'zoe' is not known" in capsys.readouterr().err


def test_a_segment_that_is_not_there(topic: RulesTopic, past: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "anna", "vips", "--at", "now"]) == 2
    err = capsys.readouterr().err
    assert "there is no segment 'vips'" in err
    assert "did you mean 'vip'?" in err


def test_a_moment_that_is_none(topic: RulesTopic, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "anna", "--at", "yesterday"]) == 2
    assert "--at 'yesterday' is no moment" in capsys.readouterr().err


def test_a_replay_says_that_it_is_one(topic: RulesTopic, past: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "anna", "vip", "--at", f"{T + 15 * DAY}"]) == 0
    captured = capsys.readouterr()
    assert "2 events of topic events replayed up to 2026-01-16T00:00:00.000Z" in " ".join(captured.err.split())
    assert "vip" in captured.out


def test_the_job_is_asked_for_one_customer_and_segment() -> None:
    assert msgspec.msgpack.decode(control.request("r1", "anna", None)) == [3, "r1", "anna", None]
    assert msgspec.msgpack.decode(control.request("r1", "anna", "vip")) == [3, "r1", "anna", "vip"]


def test_the_end_says_how_many_there_were() -> None:
    assert msgspec.msgpack.decode(control.end(7, 1_000_000)) == [2, 7, 1_000_000]
