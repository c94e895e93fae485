"""Replay: what goes to Kafka, at which pace, and that lines and records are accounted for."""

from __future__ import annotations

import argparse
import base64
import gzip
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli import replay
from cli.errors import UserError
from cli.lines import outcomes, read_lines, read_map, sdk_outcomes
from cli.replay import Account, Pace, play, read_counted, wrong
from cli.sending import bootstrap_servers
from profiles.fieldmap import Mapped, Outcome, Rejected, Repeated
from profiles.rows import MAX_LINE_BYTES

ROOT = Path(__file__).parents[2]
T = 1_700_000_000_000


class FakeSender:
    """Keeps what it is given; `refuse` says which of the records (from 1) fail, and `breaks` whether that ends it."""

    def __init__(self, refuse: frozenset[int] = frozenset(), breaks: bool = False, loses: int = 0) -> None:
        self.sent = self.acknowledged = self.failed = 0
        self.failure = ""
        self.broken = False
        self.finished = False
        self.records: list[tuple[str, bytes | None, bytes, int]] = []
        self._refuse = refuse
        self._breaks = breaks
        self._loses = loses

    def send(self, topic: str, key: bytes | None, value: bytes, timestamp: int) -> None:
        self.sent += 1
        self.records.append((topic, key, value, timestamp))
        if self.sent in self._refuse:
            self.failed += 1
            self.failure = "refused"
            self.broken = self._breaks

    def finish(self) -> None:
        self.acknowledged = self.sent - self.failed - self._loses
        self.finished = True


def mapped(time: int = T, lines: int = 1, key: bytes = b"c") -> Mapped:
    return Mapped(key, b"{}", time, 1, lines)


def played(items: list[Outcome], sender: FakeSender | None = None, **options: object) -> tuple[Account, FakeSender]:
    account, sender = Account(), sender or FakeSender()
    account.lines = sum(item.lines for item in items)
    arguments = {"topic": "events", "dead_letters": "dead-letters", "file": "f.csv", **options}
    play(iter(items), sender, account, Pace(None), **arguments)  # type: ignore[arg-type]
    return account, sender


def test_events_go_keyed_with_their_time_and_rejected_lines_to_the_dead_letters() -> None:
    account, sender = played([mapped(T), Rejected(7, 2, b"raw\xff\n", "no price", b"c9"), mapped(T + 5)])
    assert [(topic, key, time) for topic, key, _, time in sender.records] == [
        ("events", b"c", T),
        ("dead-letters", b"c9", T),
        ("events", b"c", T + 5),
    ]
    letter = json.loads(sender.records[1][2])
    assert base64.b64decode(letter.pop("raw_base64")) == b"raw\xff\n"
    assert letter == {
        "source": {"file": "f.csv", "line": 7},
        "stage": "fieldmap",
        "reason": "no price",
        "trace_id": "f.csv:7",
        "size": 5,
    }
    assert wrong(account, sender) == []
    assert (account.events, account.in_events, account.dead_letters, account.rejected) == (2, 2, 1, {"no price": 2})


def test_a_long_rejected_line_is_cut_and_says_so() -> None:
    _, sender = played([Rejected(1, 1, b"x" * 1_000_001, "too long")])
    letter = json.loads(sender.records[0][2])
    assert letter["truncated"] is True and letter["size"] == 1_000_001
    assert len(base64.b64decode(letter["raw_base64"])) == 65_536


def test_without_dead_letters_the_lines_are_still_counted() -> None:
    account, sender = played([Rejected(1, 1, b"", "no price")], dead_letters=None)
    assert sender.records == [] and account.rejected == {"no price": 1} and wrong(account, sender) == []


def test_times_that_brokers_refuse_do_not_become_timestamps() -> None:
    account, sender = played([mapped(0), mapped(T), mapped(T + 10**12), mapped(5), mapped(T + 1)], latest=T + 1000)
    assert [time for *_, time in sender.records] == [0, T, T, T, T + 1]
    assert (account.first_time, account.last_time) == (T, T + 1)


def test_a_lost_line_a_lost_record_and_a_refused_record_are_faults() -> None:
    account, sender = played([mapped()])
    account.lines += 1
    assert wrong(account, sender) == ["1 lines are unaccounted for"]
    assert wrong(*played([mapped(), mapped()], FakeSender(loses=1))) == ["1 records were never acknowledged"]
    account, sender = played([mapped()] * 3, FakeSender(refuse=frozenset({2})))
    assert wrong(account, sender) == ["Kafka refused 1 records, the first with: refused"]
    assert sender.sent == 3


def test_a_broken_kafka_ends_the_replay() -> None:
    account, sender = played([mapped()] * 100, FakeSender(refuse=frozenset({2}), breaks=True))
    assert sender.sent == 2 and sender.finished
    assert wrong(account, sender) == ["Kafka refused 1 records, the first with: refused"]


def test_a_limit_ends_it_and_is_no_fault() -> None:
    account, sender = played([mapped()] * 10, limit=3)
    assert (account.events, sender.sent, account.open) == (3, 3, 7)
    assert wrong(account, sender) == []


_OUTCOMES = st.lists(
    st.builds(mapped, st.integers(0, 2 * T), st.integers(1, 5))
    | st.builds(Rejected, st.integers(1, 9), st.integers(1, 3), st.binary(max_size=5), st.sampled_from(["a", "b"]))
    | st.builds(Repeated, st.integers(1, 9), st.integers(1, 3))
)


@given(_OUTCOMES, st.none() | st.integers(1, 5), st.frozensets(st.integers(1, 20)), st.booleans())
def test_accounts_add_up(items: list[Outcome], limit: int | None, refuse: frozenset[int], breaks: bool) -> None:
    account, sender = played(items, FakeSender(refuse, breaks), limit=limit, latest=T)
    assert account.lines == account.in_events + account.repeated + account.rejected.total() + account.open
    assert account.open == 0 or account.cut_short
    assert sender.sent == account.events + account.dead_letters == sender.acknowledged + sender.failed
    assert bool(wrong(account, sender)) == bool(sender.failed)


def test_the_pace_follows_the_intended_times_however_slow_the_sending_is() -> None:
    now = 100.0
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        nonlocal now
        slept.append(seconds)
        now += seconds

    looks = Counter[str]()
    pace = Pace(100, lambda: now, sleep)
    due: list[float] = []
    for offset in (0, 50_000, 50_000, 40_000, 100_000, 110_000):
        pace.wait(T + offset, lambda: looks.update(["look"]))
        due.append(round(now - 100, 6))
        if offset == 100_000:
            now += 5  # the broker hangs: what was due meanwhile goes at once, and nothing later is shifted
    assert due == [0, 0.5, 0.5, 0.5, 1.0, 6.0]
    assert max(slept) <= 0.2 and looks["look"] == len(slept)
    pace.wait(T + 700_000, lambda: None)
    assert now - 100 == pytest.approx(7.0)


def test_speeds() -> None:
    assert replay.parse_speed("max") is None
    assert (replay.parse_speed("100x"), replay.parse_speed("1x"), replay.parse_speed("2.5")) == (100, 1, 2.5)
    for wrong_speed in ("fast", "0x", "-1x", "nan", "inf", ""):
        with pytest.raises(argparse.ArgumentTypeError):
            replay.parse_speed(wrong_speed)


def test_lines_are_read_plain_and_gzipped_whatever_the_name_says(tmp_path: Path) -> None:
    content = b"one\ntwo\r\n\nlast"
    plain, packed = tmp_path / "plain.gz", tmp_path / "packed.csv"
    plain.write_bytes(content)
    packed.write_bytes(gzip.compress(content))
    assert list(read_lines(plain)) == list(read_lines(packed)) == [b"one\n", b"two\r\n", b"\n", b"last"]


def test_a_line_without_end_takes_no_memory_and_one_place(tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    path.write_bytes(b"a\n" + b"x" * (3 * MAX_LINE_BYTES + 17) + b"\nb\n" + b"y" * (MAX_LINE_BYTES + 1))
    lines = list(read_lines(path))
    assert [line[:1] for line in lines] == [b"a", b"x", b"b", b"y"]
    assert max(len(line) for line in lines) == MAX_LINE_BYTES + 1
    assert [type(outcome) for outcome in sdk_outcomes(lines)] == [Rejected] * 4


@pytest.mark.parametrize("damage", ["cut", "bytes"])
def test_a_damaged_archive_is_said_to_be_one(tmp_path: Path, damage: str) -> None:
    packed = gzip.compress(b"".join(b"%d\n" % number for number in range(100_000)))
    path = tmp_path / "damaged.gz"
    path.write_bytes(packed[:-2000] if damage == "cut" else packed[:5000] + b"\xff" * 50 + packed[5050:])
    with pytest.raises(UserError, match="damaged"):
        list(read_lines(path))


def test_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.x does not exist"):
        list(read_lines(tmp_path / "nowhere.x"))
    with pytest.raises(UserError, match=r"nowhere\.x does not exist"):
        read_map(tmp_path / "nowhere.x")
    with pytest.raises(UserError, match="is a folder"):
        list(read_lines(tmp_path))


def test_lines_in_sdk_form_are_sent_as_they_are() -> None:
    lines = [
        b'{"type":"track","userId":"u1","timestamp":"2023-11-14T22:13:20Z", "event":"x"}\n',
        b'{"anonymousId":"a1","timestamp":1700000000}\r\n',
        b'{"userId":7,"timestamp":"yesterday"}',
        b'{"event":"x"}\n',
        b'{"userId":true}\n',
        b"nonsense\n",
        b"\n",
    ]
    result = list(sdk_outcomes(lines))
    sent = [outcome for outcome in result if isinstance(outcome, Mapped)]
    assert [(outcome.key, outcome.event_time) for outcome in sent] == [(b"u1", T), (b"a1", T), (b"7", 0)]
    assert [outcome.value for outcome in sent] == [line.strip() for line in lines[:3]]
    assert [outcome.reason for outcome in result if isinstance(outcome, Rejected)] == [
        "no customer",
        "no customer",
        "not JSON in UTF-8",
        "an empty line",
    ]


@given(
    st.lists(
        st.binary(max_size=80) | st.sampled_from([b'{"userId":"u"}', b'{"userId":"u","timestamp":1e99}']), max_size=8
    )
)
def test_any_bytes_in_sdk_form_end_up_exactly_once(chunks: list[bytes]) -> None:
    assert sum(outcome.lines for outcome in sdk_outcomes(chunk + b"\n" for chunk in chunks)) == len(chunks)


def test_where_kafka_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEGUE_KAFKA__BOOTSTRAP_SERVERS", raising=False)
    with pytest.raises(UserError) as caught:
        bootstrap_servers(None, tmp_path)
    assert "segue up" in caught.value.hint
    state = tmp_path / ".segue" / "run" / "cluster.json"
    state.parent.mkdir(parents=True)
    state.write_text('{"bootstrap_servers": "localhost:1"}')
    assert bootstrap_servers(None, tmp_path) == "localhost:1"
    state.write_text("[]")
    with pytest.raises(UserError, match="damaged"):
        bootstrap_servers(None, tmp_path)
    monkeypatch.setenv("SEGUE_KAFKA__BOOTSTRAP_SERVERS", "kafka:2")
    assert bootstrap_servers(None, tmp_path) == "kafka:2"
    assert bootstrap_servers("given:3", tmp_path) == "given:3"


def command(*words: str) -> int:
    parser = argparse.ArgumentParser()
    replay.add_parser(parser.add_subparsers(required=True))
    return replay.run(parser.parse_args(["replay", *words]))


@pytest.fixture
def sales(tmp_path: Path) -> Path:
    path = tmp_path / "sales.csv"
    path.write_text(
        "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
        "1,A,x,2.0,2010-12-01 08:26:00,2.55,7.0,UK\n"
        "1,A,x,2.0,2010-12-01 08:26:00,2.55,7.0,UK\n"
        "2,A,x,2.0,2010-12-01 08:26:00,0.0,7.0,UK\n"
        "3,A,x,2.0,2010-12-01 08:26:00,1.0,,UK\n"
    )
    return path


def test_a_dry_run_of_the_whole_command(sales: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(str(sales), "--map", str(ROOT / "examples/online-retail/map.yaml"), "--dry-run") == 0
    words = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "read (without the header) 4" in words
    assert "in 1 events 2" in words
    assert "rejected: no customer 1" in words and "rejected: price is not above zero 1" in words


def test_a_file_with_other_columns_is_told_the_nearest(sales: Path) -> None:
    sales.write_text(sales.read_text().replace("CustomerID", "CustomrId"))
    with pytest.raises(UserError, match=r"map\.yaml:\d+:\d+: sales\.csv has no column 'CustomerID'") as caught:
        command(str(sales), "--map", str(ROOT / "examples/online-retail/map.yaml"), "--dry-run")
    assert "CustomrId" in caught.value.hint


def test_the_reader_counts_lines_by_itself(sales: Path) -> None:
    account = Account()
    field_map = read_map(ROOT / "examples/online-retail/map.yaml")
    list(outcomes(read_counted(sales, account, 1), "f", field_map))
    assert (account.lines, account.header) == (5, 1)
