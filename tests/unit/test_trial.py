"""`segue rules try`: sizes, days, overlap, examples and differences, and that they do not depend on how many processes look."""

from __future__ import annotations

import argparse
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cli import history
from cli.errors import UserError
from cli.history import DAY, Source
from cli.main import main
from cli.trial import days_of, report, share_of
from cli.trial_html import page
from cli.trial_run import Trial
from cli.trial_view import bars, grouped, render
from flink_jobs.settings import Settings
from rules.population import Population
from rules.rule_set import RuleSet, load_directory
from tests.consumers import FakeConsumer

T = 1_767_225_600_000  # 2026-01-01

BUYER = "segment: buyer\nname: Bought this week\nwhen: {event: Order Completed, within: 7d}\n"
OFTEN = "segment: often\nname: Bought twice\nwhen: {event: Order Completed, within: 30d, count: {gte: 2}}\n"
ASKS = "segment: asks\nname: Both\nwhen: {all: [{segment: buyer}, {score: {model: churn, gte: 0.5}}]}\n"
SCORED = (
    "segment: scored\nwhen: {rfm: {event: Order Completed, of: properties.a, within: 7d, recency_score: {gte: 4}}}\n"
)


def folder(path: Path, **files: str) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (path / f"{name}.yaml").write_text(text)
    return path


def events(path: Path, customers: int = 40, days: int = 20) -> Path:
    """Customer n buys every n days (n from 1 on), up to the last day."""
    lines = [
        {
            "type": "track",
            "event": "Order Completed",
            "userId": f"<c{number}>",
            "timestamp": T + day * DAY + number,
            "messageId": f"{number}-{day}",
        }
        for number in range(1, customers + 1)
        for day in range(0, days + 1, number)
    ]
    lines.append(
        {"type": "track", "event": "Looked", "userId": "last", "timestamp": T + days * DAY + 1000, "messageId": "l"}
    )
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + "no event\n")
    return path


def trial(tmp_path: Path, rules: RuleSet, against: RuleSet | None = None, sample: float = 1.0) -> Trial:
    source = Source(Settings(), file=events(tmp_path / "events.jsonl"))
    return Trial(source, rules, against, None, sample, T + 1000 * DAY)


@pytest.fixture
def rules(tmp_path: Path) -> RuleSet:
    return load_directory(folder(tmp_path / "rules", buyer=BUYER, often=OFTEN))


def test_sizes_days_and_overlap_are_those_of_the_events(tmp_path: Path, rules: RuleSet) -> None:
    found = trial(tmp_path, rules).run(1)
    last = {number: 20 - 20 % number for number in range(1, 41)}
    buyers = {number for number, day in last.items() if day > 13}
    often = {number for number in last if number <= 20}
    assert found.customers == 41
    buyer, frequent = found.segments["buyer"], found.segments["often"]
    assert buyer.members == len(buyers)
    assert frequent.members == len(often)
    assert buyer.overlap == {"often": len(buyers & often)}
    assert frequent.overlap == {"buyer": len(buyers & often)}
    first_day = T // DAY
    assert buyer.entered[first_day] == 40
    assert buyer.entered.total() - buyer.exited.total() == buyer.members
    # Who buys every seven days or more often does so at the very moment at which the first purchase leaves the window.
    assert buyer.exited[first_day + 7] == 40 - 7
    assert found.account.refused == {"not JSON in UTF-8": 1}


def test_findings_do_not_depend_on_how_many_look(tmp_path: Path, rules: RuleSet) -> None:
    against = load_directory(folder(tmp_path / "old", buyer=BUYER.replace("7d", "3d")))
    one = trial(tmp_path, rules, against)
    alone = one.run(1)
    together = one.part(0, 3)
    for number in (1, 2):
        together.add(one.part(number, 3))
    assert together == alone
    assert one.run(2) == alone


def test_examples_are_the_same_each_time_and_say_why(tmp_path: Path, rules: RuleSet) -> None:
    found = trial(tmp_path, rules).run(1).segments["buyer"]
    assert len(found.examples) == 10 and found.examples == sorted(found.examples)
    for one in found.examples:
        assert one.since >= T
        (evidence,) = one.evidence
        assert evidence["holds"] and evidence["actual"] >= 1 and evidence["threshold"] == {"gte": 1}


def test_the_difference_names_who_would_enter_and_leave(tmp_path: Path, rules: RuleSet) -> None:
    """Three days instead of seven: some leave, nobody enters; and the other way round."""
    shorter = load_directory(folder(tmp_path / "short", buyer=BUYER.replace("7d", "3d")))
    fewer = trial(tmp_path, shorter, rules).run(1).segments["buyer"]
    more = trial(tmp_path, rules, shorter).run(1).segments["buyer"]
    assert fewer.entering == 0 and fewer.leaving > 0
    assert (more.entering, more.leaving) == (fewer.leaving, 0)
    assert [one.customer for one in more.entering_examples] == [one.customer for one in fewer.leaving_examples]
    assert not fewer.leaving_examples[0].evidence[0]["holds"]
    assert all(one.since == 0 for one in fewer.leaving_examples)
    assert more.members - fewer.members == more.entering


def test_a_sample_is_a_part_of_all(tmp_path: Path, rules: RuleSet) -> None:
    found = trial(tmp_path, rules, sample=0.5).run(1)
    assert 8 < found.customers < 33
    assert found.account.read == found.account.events + found.account.refused.total() + found.account.others


# --- the command ----------------------------------------------------------------------------------------------------


def told(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert main(["rules", "try", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_file_without_a_project_is_tried_in_the_zone_of_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All buy in the first second of a day in UTC, which is the second hour of the day in Berlin."""
    history = events(tmp_path / "events.jsonl")
    others = folder(tmp_path / "rules", _project="timezone: Europe/Berlin\n", buyer=BUYER)
    night = 'segment: night\nwhen: {event: Order Completed, within: 30d, during: {hours: "1:00-2:00"}}\n'
    for place, project, members in (("here", {}, 40), ("there", {"_project": "timezone: UTC\n"}, 0)):
        draft = folder(tmp_path / place, night=night, **project) / "night.yaml"
        found = told(capsys, str(draft), "--history", str(history), "--against", str(others), "--days", "all")
        sizes = {one["segment"]: one["members"] for one in found["segments"]}
        assert sizes["night"] == members, place


def test_a_file_is_tried_among_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history = events(tmp_path / "events.jsonl")
    others = folder(tmp_path / "rules", buyer=BUYER, often=OFTEN)
    draft = folder(tmp_path / "draft", often=OFTEN.replace("gte: 2", "gte: 3")) / "often.yaml"
    found = told(capsys, str(draft), "--history", str(history), "--against", str(others), "--days", "all")
    assert [one["segment"] for one in found["segments"]] == ["buyer", "often"]
    assert found["focus"] == ["often"]
    often = found["segments"][1]
    assert often["difference"]["leaving"] > 0 == often["difference"]["entering"]
    assert found["segments"][0]["difference"]["leaving"] == 0
    assert often["overlap"][0]["segment"] == "buyer"
    assert found["removed"] == [] and not often["new"]


def test_of_a_folder_those_that_mean_something_else_are_told_at_length(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    history = events(tmp_path / "events.jsonl")
    before = folder(tmp_path / "before", buyer=BUYER, gone=OFTEN.replace("often", "gone"))
    after = folder(tmp_path / "after", buyer=BUYER.replace("name: Bought", "name: Has bought"), often=OFTEN)
    found = told(capsys, str(after), "--history", str(history), "--against", str(before))
    assert found["focus"] == ["often"]
    assert found["removed"] == ["gone"]
    assert [one["new"] for one in found["segments"]] == [False, True]


def test_what_the_figures_do_not_show_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history = events(tmp_path / "events.jsonl")
    one = folder(tmp_path / "one", often=OFTEN, ever="segment: ever\nname: E\nwhen: {event: X}\n")
    others = folder(tmp_path / "b", often=OFTEN.replace("Order Completed", "Looked"))
    found = told(capsys, str(one), "--history", str(history), "--against", str(others))
    assert found["warnings"] == [
        "ever counts from the first event on, and the history begins 20d before its end",
        "often looks back 30d, and the history covers only 20d",
    ]
    alone = folder(tmp_path / "asks", asks=ASKS) / "asks.yaml"
    found = told(capsys, str(alone), "--history", str(history), "--against", str(others))
    assert found["warnings"] == [
        "asks asks for the score of churn, and a history has none: it counts as missing",
        "asks asks for segment buyer, which is not among these rules: nobody is in it",
    ]


def test_scores_are_tried_with_what_was_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history = events(tmp_path / "events.jsonl")
    one, others = folder(tmp_path / "one", scored=SCORED), folder(tmp_path / "b", buyer=BUYER)
    words = (str(one / "scored.yaml"), "--history", str(history), "--against", str(others))
    found = told(capsys, *words)
    unmeasured = "scored compares customers with each other, and that was not measured: nobody has such a score"
    assert found["warnings"] == [unmeasured]
    assert [(each["segment"], each["members"]) for each in found["segments"]] == [("buyer", 17), ("scored", 0)]
    key = "recency of Order Completed within 7d"
    for where in (one, others):
        (where / "population.json").write_text(Population({key: (DAY, 2 * DAY, 3 * DAY, 4 * DAY)}).to_text())
        found = told(capsys, *words)
        assert found["warnings"] == []
        # A score of 4 is up to two days ago, so an order on one of the last two days.
        members = [(each["segment"], each["members"]) for each in found["segments"]]
        assert members == [("buyer", 17), ("scored", 7)]
        (where / "population.json").unlink()


def test_a_window_that_fits_into_the_history_is_no_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history = events(tmp_path / "events.jsonl")
    found = told(
        capsys,
        str(folder(tmp_path / "one", buyer=BUYER)),
        "--history",
        str(history),
        "--against",
        str(tmp_path / "one"),
    )
    assert found["warnings"] == [] and found["focus"] == []


def test_a_history_that_is_cut_to_the_days_asked_for_covers_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    history = events(tmp_path / "events.jsonl")
    one = folder(tmp_path / "one", buyer=BUYER) / "buyer.yaml"
    others = str(folder(tmp_path / "b", often=OFTEN))
    assert told(capsys, str(one), "--history", str(history), "--against", others, "--days", "7")["warnings"] == []
    (warning,) = told(capsys, str(one), "--history", str(history), "--against", others, "--days", "6.9")["warnings"]
    assert warning.startswith("buyer looks back 7d, and the history covers only 6d21h")


def test_an_empty_history_is_said_to_say_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "events.jsonl").write_text("{}\n")
    rules = folder(tmp_path / "one", buyer=BUYER)
    found = told(
        capsys, str(rules / "buyer.yaml"), "--history", str(tmp_path / "events.jsonl"), "--against", str(rules)
    )
    assert found["warnings"] == ["no event was read: the figures say nothing"]
    assert found["segments"][0]["days"] == []


def test_wrong_rules_are_refused_as_everywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules = folder(tmp_path / "one", buyer=BUYER.replace("within", "withn"))
    assert (
        main(["rules", "try", str(rules), "--history", str(events(tmp_path / "e.jsonl")), "--against", str(rules)]) == 1
    )
    assert "withn" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("history", "message"), [("missing.jsonl", "does not exist"), ("a/b", "does not exist"), (".", "is a folder")]
)
def test_a_history_that_is_not_there_is_said_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], history: str, message: str
) -> None:
    rules = folder(tmp_path / "one", buyer=BUYER)
    assert main(["rules", "try", str(rules), "--history", history, "--against", str(rules)]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("text", ["0", "-1", "x", "1e9", "nan"])
def test_days_and_shares_are_checked(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        days_of(text)
    with pytest.raises(argparse.ArgumentTypeError):
        share_of(text)


def test_a_history_from_a_topic_needs_the_topic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cli import trial as command

    monkeypatch.setattr(command, "end_offsets", lambda settings, topic: {})
    monkeypatch.setattr(command, "kafka_settings", lambda *_: Settings())
    args = argparse.Namespace(history="events", map=None, settings=None, bootstrap=None)
    with pytest.raises(UserError, match="no file and no topic 'events'"):
        command.source_of(args)
    monkeypatch.setattr(command, "end_offsets", lambda settings, topic: {0: 12})
    assert command.source_of(args) == Source(Settings(), "events", {0: 12})
    args.map = Path("map.yaml")
    with pytest.raises(UserError, match="--map is for files"):
        command.source_of(args)


def test_a_topic_gives_the_figures_that_its_file_gives(
    tmp_path: Path, rules: RuleSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From records in two partitions, in the order in which they were stored, to the report."""
    by_file = trial(tmp_path, rules)
    lines = [line for line in (tmp_path / "events.jsonl").read_bytes().splitlines() if line.startswith(b"{")]
    partitions: dict[int, list[tuple[bytes | None, bytes | None, int]]] = {0: [], 1: []}
    for line in sorted(lines, key=lambda one: json.loads(one)["timestamp"]):
        event = json.loads(line)
        partitions[len(event["userId"]) % 2].append((event["userId"].encode(), line, event["timestamp"]))
    monkeypatch.setattr(history, "talk", lambda settings, what: FakeConsumer(partitions))
    ends = {number: len(rows) for number, rows in partitions.items()}
    source = Source(Settings(), "events", ends)
    by_topic = Trial(source, rules, None, None, 1.0, T + 1000 * DAY).run(1)
    assert by_topic.segments == by_file.run(1).segments
    assert by_topic.account.events == len(lines) == by_topic.outcomes["applied"]


# --- what is shown --------------------------------------------------------------------------------------------------


class Checked(HTMLParser):
    """Every element that is opened is closed, in order; what stands in attributes is gathered."""

    VOID = frozenset({"meta", "rect", "line"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def made(tmp_path: Path, rules: RuleSet) -> dict[str, Any]:
    against = load_directory(folder(tmp_path / "old", buyer=BUYER.replace("7d", "3d")))
    one = trial(tmp_path, rules, against)
    return report(one, one.run(1), ["buyer", "often"], "old")


def test_the_page_is_whole_and_fetches_nothing(tmp_path: Path, rules: RuleSet) -> None:
    text = page(made(tmp_path, rules))
    checked = Checked()
    checked.feed(text)
    checked.close()
    assert checked.open == []
    assert not checked.tags & {"script", "link", "img", "iframe"}
    assert all(name not in {"src", "srcset"} and not name.startswith("on") for name, _ in checked.attributes)
    assert all((value or "").startswith("#") for name, value in checked.attributes if name == "href")
    ids = [value for name, value in checked.attributes if name == "id"]
    assert sorted(ids) == ["buyer", "often"]
    assert "<c1>" not in text and "<c1" in checked.text, "what customers are called is text, not HTML"
    assert "lang" in dict(checked.attributes) and "prefers-color-scheme: dark" in text


def test_every_chart_has_a_title_and_a_table_with_its_figures(tmp_path: Path, rules: RuleSet) -> None:
    text = page(made(tmp_path, rules))
    assert text.count("<svg") == text.count('role="img"') == text.count("<title>") - 1 == 2
    assert text.count("<summary>Day by day</summary>") == 2
    assert '<tr><th scope="row">2026-01-01</th><td class="n">40</td>' in text


def test_every_bar_stands_within_its_chart(tmp_path: Path, rules: RuleSet) -> None:
    text = page(made(tmp_path, rules))
    bars = re.findall(r'<rect class="(in|out)" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"/>', text)
    assert len(bars) > 20
    width, height = map(int, re.findall(r'viewBox="0 0 (\d+) (\d+)"', text)[0])
    for kind, *numbers in bars:
        left, top, wide, high = map(float, numbers)
        assert 0 <= left <= left + wide <= width + 0.1
        upwards = 19.9 <= top <= top + high <= height / 2 + 0.1
        downwards = height / 2 - 0.1 <= top <= top + high <= height - 19.9
        assert upwards if kind == "in" else downwards, "labels stand above and below"


def test_the_terminal_shows_the_same_figures(tmp_path: Path, rules: RuleSet) -> None:
    found = made(tmp_path, rules)
    console = Console(file=io.StringIO(), width=160, highlight=False)
    console.print(render(found))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    buyer = found["segments"][0]
    assert f"{buyer['difference']['entering']} would enter, 0 would leave" in shown
    assert "Customer ids are shown as they are" in shown
    assert "refused, 1 records: not JSON in UTF-8" in shown
    for example in buyer["examples"]:
        assert example["customer"] in shown


def test_bars_show_whatever_is_not_nothing() -> None:
    assert bars([0, 1, 1000], 1000) == " ▁█"
    assert bars([], 0) == bars([], 5) == ""
    assert bars([0, 0], 0) == "  "


def test_days_are_grouped_to_fit_and_none_is_lost() -> None:
    values = list(range(100))
    for width in (1, 7, 60, 99, 100, 200):
        found, each = grouped(values, width)
        assert len(found) <= width and sum(found) == sum(values)
        assert each == -(-100 // width)
