"""Versions from the command line: history, rollback, comparing, pulling, and not undoing what was never seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from cli.origin import NOTE
from rules.population import FILE, Population
from tests.fixtures.rules_topic import RulesTopic

VIP = "segment: vip\nwhen: {event: Order, within: 30d}\n"
NEWS = "segment: news\nwhen: {event: Email Opened, within: 7d}\n"
WIDER = VIP.replace("30d", "60d")


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> RulesTopic:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEGUE_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    return RulesTopic(monkeypatch)


def folder(name: str = "rules", **files: str) -> str:
    path = Path(name)
    path.mkdir(exist_ok=True)
    for old in path.glob("*.yaml"):
        old.unlink()
    for file, text in files.items():
        (path / f"{file}.yaml").write_text(text)
    return name


def rules(*words: str) -> int:
    return main(["rules", *words])


def apply(*words: str) -> int:
    return rules("apply", *words, "--no-backfill", "--author", "ann")


def said(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_history_says_who_changed_what(topic: RulesTopic, capsys: pytest.CaptureFixture[str]) -> None:
    assert apply(folder(vip=VIP), "-m", "begin") == 0
    assert apply(folder(vip=WIDER, news=NEWS)) == 0
    assert apply(folder(news=NEWS)) == 0
    capsys.readouterr()
    assert rules("history", "--json") == 0
    found = [(one["version"], one["state"], one["changed"], one["message"]) for one in said(capsys)["versions"]]
    assert found == [
        (3, "live", "removed vip", "removed vip"),
        (2, "past", "added news; changed vip", "added news; changed vip"),
        (1, "past", "added vip", "begin"),
    ]
    assert rules("history") == 0
    out = capsys.readouterr().out
    assert "3 (live)" in out
    assert "ann" in out


def test_history_of_a_version_is_what_it_changed(topic: RulesTopic, capsys: pytest.CaptureFixture[str]) -> None:
    apply(folder(vip=VIP))
    apply(folder(vip=WIDER))
    apply(folder(vip=WIDER, news=NEWS))
    capsys.readouterr()
    assert rules("history", "2") == 0
    out = capsys.readouterr().out
    assert "-when: {event: Order, within: 30d}" in out
    assert "+when: {event: Order, within: 60d}" in out
    assert "news" not in out
    assert rules("history", "7") == 2
    assert "does not hold version 7" in capsys.readouterr().err


def test_two_versions_are_compared(topic: RulesTopic, capsys: pytest.CaptureFixture[str]) -> None:
    apply(folder(vip=VIP))
    apply(folder(vip=WIDER))
    apply(folder(news=NEWS))
    capsys.readouterr()

    def kinds(*words: str) -> list[str]:
        assert rules("diff", *words, "--json") == 0
        return [f"{one['kind']} {one['segment']}" for one in said(capsys)["changes"]]

    assert kinds("1", "2") == ["changed vip"]
    assert kinds("2", "1") == ["changed vip"]
    assert kinds("1", "3") == ["added news", "removed vip"]
    assert kinds("2") == ["removed news", "added vip"]
    assert kinds("rules") == []
    assert kinds("1", "rules") == ["added news", "removed vip"]
    assert kinds("rules/news.yaml", "1") == ["added news"]
    assert rules("diff", "1", "2", "3") == 2


def test_a_rollback_is_a_new_version_with_old_files(topic: RulesTopic, capsys: pytest.CaptureFixture[str]) -> None:
    apply(folder(vip=VIP))
    apply(folder(vip=WIDER, news=NEWS))
    assert rules("rollback", "1", "--no-backfill") == 0
    newest = topic.newest
    assert (newest.version, newest.message) == (3, "back to version 1: changed vip; removed news")
    assert newest.sources == {"vip.yaml": VIP}
    # The folder of before has never seen that.
    capsys.readouterr()
    assert apply("rules") == 2
    err = capsys.readouterr().err
    assert "applying would undo it: added news; changed vip" in err
    assert "segue rules pull rules" in err
    assert topic.newest.version == 3
    assert apply("rules", "--replace") == 0
    assert topic.newest.version == 4
    assert apply("rules", "--replace") == 0
    assert topic.newest.version == 4, "a pipeline that runs again publishes nothing"


def test_a_rollback_runs_the_tests(topic: RulesTopic, capsys: pytest.CaptureFixture[str]) -> None:
    failing = "tests:\n  - given: [{at: 0m, event: Order}]\n    expect: [{at: 0m, exited: true}]\n"
    apply(folder(vip=VIP + failing), "--no-tests")
    apply(folder(vip=WIDER))
    assert rules("rollback", "1", "--no-backfill") == 1
    assert "nothing was published" in capsys.readouterr().err
    assert topic.newest.version == 2


def test_two_people_do_not_undo_each_other(topic: RulesTopic, capsys: pytest.CaptureFixture[str]) -> None:
    apply(folder("ann", vip=VIP))
    assert rules("pull", "bob") == 0
    assert apply(folder("bob", vip=VIP, news=NEWS)) == 0
    folder("ann", vip=WIDER)
    capsys.readouterr()
    assert apply("ann") == 2
    assert "version 2" in capsys.readouterr().err
    assert rules("pull", "ann") == 0
    out = capsys.readouterr().out
    assert "written  news.yaml" in out
    assert "yours    vip.yaml" in out
    assert apply("ann") == 0
    assert topic.newest.sources == {"vip.yaml": WIDER, "news.yaml": NEWS}


def test_a_pull_does_not_overwrite_what_both_have_changed(
    topic: RulesTopic, capsys: pytest.CaptureFixture[str]
) -> None:
    apply(folder("ann", vip=VIP))
    rules("pull", "bob")
    apply(folder("bob", vip=WIDER))
    folder("ann", vip=VIP.replace("30d", "90d"))
    capsys.readouterr()
    assert rules("pull", "ann") == 2
    assert "changed here and in version 2: vip.yaml" in capsys.readouterr().err
    assert "90d" in Path("ann/vip.yaml").read_text()
    assert rules("pull", "ann", "--force") == 0
    assert Path("ann/vip.yaml").read_text() == WIDER


def test_a_pull_removes_what_was_removed(topic: RulesTopic, capsys: pytest.CaptureFixture[str]) -> None:
    apply(folder("ann", vip=VIP, news=NEWS))
    rules("pull", "bob")
    apply(folder("bob", vip=VIP))
    assert rules("pull", "ann", "--json") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {
        "version": 2,
        "written": [],
        "deleted": ["news.yaml"],
    }
    assert not Path("ann/news.yaml").exists()


def test_new_segments_warm_and_reworded_ones_do_not(topic: RulesTopic, capsys: pytest.CaptureFixture[str]) -> None:
    assert rules("apply", folder(vip=VIP), "--detach") == 0
    assert topic.newest.stage == 1, "the first version has nothing to be late for"
    assert rules("apply", folder(vip=WIDER, news=NEWS), "--detach") == 0
    assert "stays warming" in capsys.readouterr().out
    second = topic.newest
    assert (second.stage, second.warming) == (0, {"news": None, "vip": VIP})
    assert rules("list", "--json") == 0
    assert [(one["segment"], one["state"]) for one in said(capsys)["segments"]] == [
        ("news", "warming"),
        ("vip", "warming"),
    ]
    # The next version keeps warming what customers do not have yet, and falls back on what they have.
    other = VIP.replace("30d", "90d")
    assert rules("apply", folder(vip=other, news=NEWS + "owner: ann@example.com\n"), "--detach") == 0
    assert topic.newest.warming == {"news": None, "vip": VIP}
    # To mean again what is in force needs no warming.
    assert rules("apply", folder(vip=VIP), "--detach") == 0
    assert topic.newest.stage == 1


def test_the_zone_of_the_project_is_listed_warms_what_asks_for_it_and_is_live_with_it(
    topic: RulesTopic, capsys: pytest.CaptureFixture[str]
) -> None:
    office = "segment: office\nwhen: {during: {hours: '9:00-17:00'}}\n"
    assert apply(folder(vip=VIP, office=office)) == 0
    assert rules("list") == 0
    assert "days and hours" not in capsys.readouterr().out
    assert rules("apply", folder(vip=VIP, office=office, _project="timezone: Europe/Berlin\n"), "--detach") == 0
    assert (set(topic.newest.warming), topic.newest.meant_in) == ({"office"}, {"office": "UTC"})
    assert rules("list") == 0
    assert "days and hours are those of Europe/Berlin unless" in " ".join(capsys.readouterr().out.split())
    assert rules("apply", "--resume", "--no-backfill") == 0
    assert (topic.newest.stage, topic.newest.meant_in) == (1, {})


def test_rewording_is_live_at_once(topic: RulesTopic) -> None:
    rules("apply", folder(vip=VIP), "--detach")
    assert rules("apply", folder(vip=VIP + "description: the best\n"), "--detach", "--force") == 0
    assert (topic.newest.version, topic.newest.stage) == (2, 1)


def test_what_warms_can_be_made_live_without_its_past(topic: RulesTopic, capsys: pytest.CaptureFixture[str]) -> None:
    rules("apply", folder(vip=VIP), "--detach")
    rules("apply", folder(vip=WIDER), "--detach")
    assert apply("rules") == 0
    assert "live now without its past" in capsys.readouterr().out
    assert (topic.newest.version, topic.newest.stage, topic.newest.sources) == (2, 1, {"vip.yaml": WIDER})
    assert [one.key for one in topic.records] == [b"00000001", b"00000002", b"00000002"]
    assert rules("apply", "--resume") == 0
    assert "no version is warming: version 2 is live" in capsys.readouterr().out


def test_a_folder_that_means_the_same_has_seen_it(topic: RulesTopic) -> None:
    apply(folder("ann", vip=VIP))
    assert apply(folder("bob", vip=VIP)) == 0
    assert (Path("bob") / NOTE).exists()
    assert apply(folder("bob", vip=WIDER)) == 0


def test_options_that_say_nothing_together_are_refused(topic: RulesTopic, capsys: pytest.CaptureFixture[str]) -> None:
    folder(vip=VIP)
    assert rules("apply", "rules", "--map", "map.yaml") == 2
    assert "--history" in capsys.readouterr().err
    assert rules("apply", "rules", "--history", "nowhere.csv") == 2
    assert "nowhere.csv" in capsys.readouterr().err


KEY = "monetary (properties.a) of A within 30d"
SCORED = "segment: scored\nwhen: {rfm: {event: A, of: properties.a, within: 30d, monetary_score: {gte: 4}}}\n"


def measured(folder: str, *bounds: float) -> Path:
    file = Path(folder) / FILE
    file.write_text(Population({KEY: tuple(map(float, bounds))}, 10, 1).to_text())
    return file


def test_a_rollback_brings_the_population_of_its_version(topic: RulesTopic) -> None:
    measured(folder(scored=SCORED), 1, 2, 3, 4)
    apply("rules")
    measured("rules", 1, 2, 3, 5)
    apply("rules")
    assert topic.newest.population.bounds == {KEY: (1, 2, 3, 5)}
    assert rules("rollback", "1", "--no-backfill") == 0
    assert (topic.newest.version, topic.newest.population.bounds) == (3, {KEY: (1, 2, 3, 4)})
    assert {one.name: one.version for one in topic.newest.segments} == {"scored": 3}


def test_a_pull_brings_the_population(topic: RulesTopic, capsys: pytest.CaptureFixture[str]) -> None:
    file = measured(folder("ann", scored=SCORED), 1, 2, 3, 4)
    apply("ann")
    assert rules("pull", "bob") == 0
    assert f"written  {FILE}" in capsys.readouterr().out
    assert (Path("bob") / FILE).read_text() == file.read_text()
    # What was measured anew there alone is brought; what both have measured is not overwritten.
    measured("bob", 1, 2, 3, 5)
    apply("bob")
    assert rules("pull", "ann") == 0
    assert file.read_text() == (Path("bob") / FILE).read_text()
    measured("bob", 1, 2, 3, 6)
    apply("bob")
    measured("ann", 1, 2, 3, 7)
    capsys.readouterr()
    assert rules("pull", "ann") == 2
    assert f"changed here and in version 3: {FILE}" in capsys.readouterr().err
    # Where it is gone, it goes.
    (Path("bob") / FILE).unlink()
    apply("bob")
    assert rules("pull", "ann", "--force") == 0
    assert not file.exists()


def test_a_population_that_was_never_seen_is_not_undone(topic: RulesTopic, capsys: pytest.CaptureFixture[str]) -> None:
    measured(folder("ann", scored=SCORED), 1, 2, 3, 4)
    apply("ann")
    rules("pull", "bob")
    measured("bob", 1, 2, 3, 5)
    apply("bob")
    capsys.readouterr()
    assert apply("ann") == 2
    assert "applying would undo it: changed scored" in capsys.readouterr().err
    assert rules("diff", "1", "2") == 0
    assert f'+"{KEY}": [1.0, 2.0, 3.0, 5.0]' in capsys.readouterr().out


def test_how_a_population_is_set_out_is_no_change(topic: RulesTopic, capsys: pytest.CaptureFixture[str]) -> None:
    file = measured(folder("ann", scored=SCORED), 1, 2, 3, 4)
    apply("ann")
    file.write_text(json.dumps(json.loads(file.read_text())))
    capsys.readouterr()
    assert rules("pull", "ann", "--json") == 0
    assert said(capsys) == {"version": 1, "written": [], "deleted": []}
    file.write_text("no population")
    assert rules("pull", "ann", "--json") == 0, "one that cannot be read was changed here alone, and is left"
    assert said(capsys)["written"] == []
    assert file.read_text() == "no population"
