"""The live view: what the board counts, and that its pictures hold it at any size."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console, RenderableType

from cli.changes import Change, evidence_words, read_change, reason
from cli.demo_traffic import Status, play
from cli.live_models import Standings, read_header, read_word
from cli.live_view import MINUTE, Board, Vitals, picture, progress_line, summary
from flink_jobs.model_records import Header, encode_version, published
from online_models.version import Lineage, ModelEvent, ModelVersion, Quality
from shop import Delivery

LIVE = 1_800_000_000_000


def change(
    number: int, *, entered: bool = True, at: int = LIVE, took: int = 100, segment: str = "vip", **more: Any
) -> Change:
    cause = more.get("cause", {"kind": "event", "event": "Order Completed"})
    return Change(
        str(number), more.get("customer", "c1"), segment, entered, at, at + took, cause, more.get("evidence", ())
    )


def drawn(what: RenderableType, width: int = 120, height: int = 40) -> str:
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    console.print(what, height=height)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_a_size_is_who_entered_less_who_left_and_a_repeat_counts_once() -> None:
    board = Board(["vip"], LIVE)
    for one in (change(1), change(2, customer="c2"), change(2, customer="c2"), change(3, entered=False)):
        board.add(one)
    vip = board.segments["vip"]
    assert (vip.size, vip.entered, vip.exited, board.transitions) == (1, 2, 1, 3)


def settled(*segments: str) -> Board:
    """A board of a job that has caught up as it went live."""
    board = Board(segments, LIVE)
    board.vitals = Vitals(lag=0, input_rate=50.0)
    board.settle(LIVE)
    return board


def test_history_counts_for_sizes_but_for_no_rate_and_no_delay() -> None:
    board = settled("vip")
    board.add(change(1, at=LIVE - 1, took=86_400_000))
    assert board.segments["vip"].size == 1
    assert board.live_transitions == 0
    assert board.delay(0.5) is None
    board.add(change(2, at=LIVE))
    assert (board.live_transitions, board.delay(0.5)) == (1, 100)


def test_what_waited_until_the_job_had_caught_up_counts_for_no_delay() -> None:
    board = Board(["vip"], LIVE)
    board.add(change(1, at=LIVE + 10, took=30_000))
    for lag, now in ((101, LIVE + 50), (100, LIVE + 60), (0, LIVE + 70)):
        board.vitals = Vitals(lag=lag, input_rate=50.0)
        board.settle(now)
    board.add(change(2, at=LIVE + 59, took=20_000))
    assert (board.live_transitions, board.delay(0.5)) == (2, None)
    board.add(change(3, at=LIVE + 60, took=80))
    assert board.delay(1.0) == 80


def test_a_rate_is_that_of_the_last_minute() -> None:
    board = Board(["vip"], LIVE)
    board.add(change(1, at=LIVE))
    board.add(change(2, at=LIVE + 1, entered=False))
    board.forget(LIVE + MINUTE)
    assert (len(board.segments["vip"].enters), len(board.segments["vip"].exits)) == (1, 1)
    board.forget(LIVE + MINUTE + 1)
    assert (len(board.segments["vip"].enters), len(board.segments["vip"].exits)) == (0, 1)


def test_what_time_alone_brings_about_does_not_count_as_delay() -> None:
    board = settled("vip")
    board.add(change(1, took=2_000, cause={"kind": "timer", "at": "x"}))
    assert board.delay(0.5) is None


def test_delays_are_told_by_share() -> None:
    board = settled("vip")
    for number in range(100):
        board.add(change(number, took=number + 1))
    assert (board.delay(0.5), board.delay(0.99), board.delay(1.0)) == (51, 100, 100)


def test_a_record_that_ended_nowhere_is_shown_as_unaccounted() -> None:
    board = Board([], LIVE)
    board.vitals = Vitals(totals={"received": 10, "applied": 7, "duplicate": 1, "late": 1})
    assert board.unaccounted() == 1
    assert "+1 unaccounted" in drawn(picture(board, LIVE, 1, 40))
    board.vitals = Vitals(totals={"received": 10, "applied": 7, "duplicate": 1, "late": 1, "dead_lettered": 1})
    assert "unaccounted" not in drawn(picture(board, LIVE, 1, 40))


@pytest.mark.parametrize(("width", "height"), [(120, 40), (80, 24), (40, 12)])
def test_the_picture_fits_any_terminal_and_never_fails(width: int, height: int) -> None:
    board = Board([f"segment-{number}" for number in range(10)], LIVE)
    board.standings = standings()
    assert len(drawn(picture(board, LIVE, 0, height, width=width), width, height).splitlines()) <= height
    for number in range(200):
        board.add(change(number, segment=f"segment-{number % 12}", customer=f"c{number}"))
    board.vitals = Vitals(
        "RUNNING", "http://127.0.0.1:1", {"received": 1}, 1, 1.0, 0, LIVE, 5, 10, "a trouble\nof two lines"
    )
    text = drawn(picture(board, LIVE + 5, 61, height, 120.0, width), width, height)
    lines = text.splitlines()
    assert len(lines) <= height
    assert all(len(line) <= width for line in lines)


def test_the_picture_shows_who_came_why_and_how_the_job_is() -> None:
    board = settled("vip", "lapsed")
    evidence = (
        {
            "condition": "sum of properties.revenue over Order Completed",
            "holds": True,
            "actual": 812.5,
            "threshold": {"gte": 500},
        },
    )
    board.add(change(1, customer="c000042", evidence=evidence))
    board.vitals = Vitals(
        "RUNNING", "http://127.0.0.1:4711", {"received": 1, "applied": 1}, 123, 50.2, 7, LIVE - 1500, 35, 4096
    )
    text = drawn(picture(board, LIVE, 65, 40, 120.0))
    for expected in ("c000042", "→ enter", "sum of revenue 812.5 (≥ 500)", "lapsed", "50/s", "7 records", "100 ms",
                     "1.5 s ago", "http://127.0.0.1:4711", "● running", "1:05 of 2:00"):  # fmt: skip
        assert expected in text, expected


def test_text_from_outside_cannot_steer_the_terminal() -> None:
    board = Board([], LIVE)
    board.add(change(1, customer="\x1b[2Jevil", segment="[red]x[/]\x07"))
    text = drawn(picture(board, LIVE, 1, 40))
    assert "\x1b[2J" not in text
    assert "\x07" not in text
    assert "[red]x" in text


def test_the_line_and_the_summary_hold_the_same_numbers() -> None:
    board = settled("vip")
    board.add(change(1))
    board.vitals = Vitals("RUNNING", "", {"received": 3, "applied": 2, "late": 1}, 3, 1.0, 0)
    line = progress_line(board, 10)
    assert "1 transitions (1 live)" in line and "lag 0" in line and "100 ms" in line
    text = drawn(summary(board, 75))
    assert "after 1:15" in text and "3 = 2 applied, 0 duplicate, 1 late, 0 quarantined, 0 dead-lettered" in text


def test_before_anything_is_known_the_line_says_so() -> None:
    assert "starting" in progress_line(Board([], LIVE), 0)


def test_the_reason_tells_what_decided_first() -> None:
    seen = {"condition": "Order Completed", "holds": True, "actual": 2, "threshold": {"gte": 2}}
    silent = {"condition": "no Order Completed", "holds": True, "actual": None, "threshold": "none within 90d"}
    failing = {"condition": "trait country eq DE", "holds": False, "actual": "FR", "threshold": {"eq": "DE"}}
    entered = change(1, cause={"kind": "timer"}, evidence=(seen, failing, silent))
    assert reason(entered) == "time passed: no Order Completed within 90d; 2 × Order Completed (≥ 2)"
    left = change(2, entered=False, cause={"kind": "event", "event": "identify"}, evidence=(seen, failing))
    assert reason(left) == "identify: country is FR (= DE)"


def test_each_kind_of_evidence_reads_as_words() -> None:
    since = {"condition": "time since the first any event", "actual": "7d", "threshold": {"lt": "7d"}, "holds": False}
    assert evidence_words(since) == "7d since the first event (< 7d)"
    values = {"condition": "Product Viewed within 7d, the same properties.product_id", "threshold": {"gt": 3}}
    seen = [{"value": "P1", "count": 4}, {"value": "P2", "count": 5}]
    assert (
        evidence_words({**values, "actual": seen})
        == "P1 × 4, P2 × 5 (> 3): Product Viewed within 7d, the same product_id"
    )
    assert evidence_words({**values, "actual": []}) == "none left of Product Viewed within 7d, the same product_id"
    trait = {"condition": "trait email_consent eq True", "threshold": {"eq": True}}
    assert evidence_words({**trait, "actual": True}) == "email_consent is true (= true)"
    assert evidence_words({**trait, "actual": None}) == "email_consent is unknown (= true)"
    bought = {"condition": "no Order Completed", "threshold": "none within 30d", "actual": "x", "holds": False}
    assert evidence_words(bought) == "Order Completed within 30d"
    between = {"condition": "Page (path eq /a)", "actual": 2, "threshold": {"between": [1, 3]}}
    assert evidence_words(between) == "2 × Page (path = /a) (1 to 3)"
    assert evidence_words({}) == ": nothing"


def test_a_latched_exit_has_its_cause_alone_for_a_reason() -> None:
    seen = {
        "condition": "Cart Updated, then no Order Completed",
        "holds": True,
        "actual": "x",
        "threshold": "silence of 30m",
    }
    assert reason(change(1, entered=False, evidence=(seen,))) == "Order Completed"


def test_what_is_no_transition_is_passed_over() -> None:
    for value in (None, b"", b"{", b"[]", b"{}", b'{"data":{},"id":"1"}', b"\xff"):
        assert read_change(value) is None
    data = {"customer": "c", "segment": "s", "effective_at": "2026-11-22T23:00:00.000Z", "emitted_at": "nonsense"}
    assert read_change(json.dumps({"id": "1", "type": "segment.entered", "data": data}).encode()) is None


def said(one: Quality | ModelEvent | ModelVersion) -> Any:
    """What the view reads of what the learner says."""
    value = published(one)[2]
    return read_header(value) if isinstance(one, ModelVersion) else read_word(value)


def version(number: int, candidate: str = "line", role: Any = "champion", model: str = "purchase") -> ModelVersion:
    return ModelVersion(model, candidate, number, role, "d", LIVE, Lineage(), {}, b"body")


def quality(champion: str = "line", **figures: Any) -> Quality:
    candidates = {champion: {"examples": 1234, "role": "champion", **figures}, "other": {"examples": 7, "roc_auc": 0.1}}
    return Quality("purchase", "d", LIVE, champion, candidates, [])


FIGURES = {"seen": 120, "foretold": 100, "roc_auc": 0.812, "log_loss": 0.41, "base_rate": 0.25}


def standings() -> Standings:
    """One model with figures and an event, and one of which nothing is known."""
    found = Standings(["purchase", "churn"])
    drift = ModelEvent("purchase", "drift", LIVE, "line", {"of": "error", "before": 0.2, "after": 0.35})
    ones = (version(7), version(9, "other", "challenger"), quality(**FIGURES))
    for one in (*ones, drift, drift):
        found.hear(said(one))
    return found


def test_a_model_is_shown_with_its_champion_version_figures_and_newest_event() -> None:
    board = settled("vip")
    board.standings = standings()
    ages = {"score_age_1h_purchase": 7, "score_age_1d_purchase": 2, "score_age_10m_churn": 1}
    due = {"scores_due_purchase": 12, "scores_given_purchase": 9, "scores_due_churn": 8, "scores_given_churn": 6}
    board.vitals = Vitals(totals={"scored": 4321, **due, **ages})
    for text in (drawn(picture(board, LIVE, 1, 40)), drawn(summary(board, 60))):
        purchase, churn = (next(line for line in text.splitlines() if name in line) for name in ("purchase", "churn"))
        for expected in (
            "line v7",
            "1,234",
            "AUC 0.812, log loss 0.410 vs 0.562 (-27%)",
            "drift of",
        ):
            assert expected in purchase, expected
        assert "none yet" in churn
        assert "4,321 scores given" in text
        assert "; 75% of 20 due, half 1h old, 95% 1d" in text
        assert "failed" not in text
    assert "purchase: 75% of 12 due, half 1h old, 95% 1d" in text
    assert "churn: 75% of 8 due, half 10m old, 95% 10m" in text


def test_of_too_few_outcomes_there_are_no_figures() -> None:
    found = standings()
    found.hear(said(quality(**FIGURES | {"foretold": 99})))
    board = settled("vip")
    board.standings = found
    text = drawn(summary(board, 60))
    assert "99 of 120 outcomes foretold: too few" in text
    assert "AUC" not in text


def test_the_champion_is_whom_the_newest_report_names_and_before_the_first_the_newest_version_in_that_role() -> None:
    found = Standings()
    for one in (version(1), version(2, "tree"), version(3, "other", "challenger")):
        found.hear(said(one))
    assert (found.models["purchase"].champion, found.models["purchase"].version) == ("tree", 2)
    found.hear(said(quality("line")))
    assert (found.models["purchase"].champion, found.models["purchase"].version) == ("line", 1)
    found.hear(said(version(1)))
    found.hear(said(version(4)))
    assert (found.models["purchase"].version, found.models["purchase"].published) == (4, 4)


def test_what_is_no_word_and_no_version_is_passed_over() -> None:
    for value in (
        None,
        b"",
        b"{",
        b"[]",
        b"{}",
        b"\xff",
        b'{"model":"m","kind":"drift","candidate":"","at":"x","detail":{}}',
    ):
        assert read_word(value) is None
        assert read_header(value) is None
    cut = encode_version(version(7))[:-3]
    assert read_header(cut) == Header("purchase", "line", 7, "champion", "stream")


def test_segments_stand_beside_each_other_where_models_would_leave_no_room_for_them() -> None:
    board = Board([f"segment-{number}" for number in range(24)], LIVE)
    board.standings = standings()
    wide, low = drawn(picture(board, LIVE, 1, 40)), drawn(picture(board, LIVE, 1, 24), height=24)
    for number in range(24):
        assert f"segment-{number} " in wide
    assert "champion" in wide
    assert "champion" not in low


class _Recorder:
    """A sender that notes what it was given; `finish` as of which record."""

    def __init__(self) -> None:
        self.sent = self.acknowledged = self.failed = 0
        self.failure = ""
        self.broken = False
        self.times: list[int] = []
        self.finished_at: list[int] = []

    def send(self, topic: str, key: bytes | None, value: bytes, time: int) -> None:
        self.times.append(time)

    def finish(self) -> None:
        self.finished_at.append(len(self.times))


def test_traffic_is_called_live_only_when_all_of_the_history_is_in_kafka() -> None:
    now, told, sender = [100.0], [], _Recorder()

    def sleep(seconds: float) -> None:
        now[0] += seconds

    def tell(status: Status, **_: bool) -> None:
        told.append((status.live, status.sent))

    deliveries = [Delivery(at, b"k", b"v") for at in (1_000, 99_999, 100_250, 101_000)]
    status = play(deliveries, sender, "events", 100_000, tell, lambda: now[0], sleep)
    assert sender.finished_at[0] == 2
    assert next(sent for live, sent in told if live) == 2
    assert (status.history, status.sent) == (2, 4)
    assert now[0] == pytest.approx(101.0)


def test_traffic_that_is_late_makes_up_for_it_and_says_by_how_much() -> None:
    def sleep(seconds: float) -> None:
        raise AssertionError(f"it is late and yet waits {seconds} s")

    sender = _Recorder()
    deliveries = [Delivery(at, b"k", b"v") for at in (100_000, 100_500)]
    status = play(deliveries, sender, "events", 100_000, lambda *_, **__: None, lambda: 103.0, sleep)
    assert (sender.times, status.behind) == ([100_000, 100_500], 2_500)
