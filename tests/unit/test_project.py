"""What holds for all rules of a folder: the project's time zone."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flink_jobs.following import Following
from flink_jobs.models import SCORING
from profiles.profile import Profile
from rules.measured import measures
from rules.plan import Limits
from rules.rule_set import RuleErrors, RuleSet, diff, load_directory, load_file, next_version, warm
from rules.scenario import run_scenarios

OFFICE = """segment: office
when: {during: {hours: "9:00-17:00", weekdays: mon-fri}}
tests:
  - name: Berlin is an hour ahead of UTC in winter, and two in summer
    now: {NOW}
    given: [{at: -1h, event: Order}]
    expect: [{at: 0m, in: false}, {at: 1m, entered: true}]
"""
WINTER, SUMMER = "2026-03-27T07:59:00Z", "2026-03-30T06:59:00Z"
"""The last working day before the clocks change in Berlin, and the first after it: one minute before nine there."""

TOKYO = OFFICE.replace("segment: office", "segment: tokyo").replace("when:", "timezone: Asia/Tokyo\nwhen:")
PLAIN = "segment: plain\nwhen: {event: Order, within: 7d}\n"


def folder(path: Path, project: str | None, **files: str) -> RuleSet:
    path.mkdir(exist_ok=True)
    for name, text in files.items():
        (path / f"{name}.yaml").write_text(text.replace("{NOW}", f'"{WINTER}"'))
    if project is None:
        (path / "_project.yaml").unlink(missing_ok=True)
    else:
        (path / "_project.yaml").write_text(project)
    return load_directory(path)


BERLIN = "timezone: Europe/Berlin  # where most of our customers are\n"


@pytest.mark.parametrize("now", [WINTER, SUMMER])
def test_rules_are_read_and_tested_in_the_projects_zone_whatever_the_season(tmp_path: Path, now: str) -> None:
    files = {"office": OFFICE.replace("{NOW}", f'"{now}"')}
    for project, passes in ((BERLIN, True), (None, False), ("timezone: Europe/London\n", False)):
        rules = folder(tmp_path / "rules", project, **files)
        (office,) = rules.segments
        (result,) = run_scenarios(office, rules.scenarios["office"])
        assert result.passed is passes, f"in {project}"


def test_only_what_looks_at_the_calendar_without_a_zone_of_its_own_means_something_else(tmp_path: Path) -> None:
    files = {"office": OFFICE, "tokyo": TOKYO, "plain": PLAIN}
    before = next_version(None, folder(tmp_path / "rules", None, **files))
    after = next_version(before, folder(tmp_path / "rules", BERLIN))
    assert {one.name: one.version for one in after.segments} == {"office": 2, "plain": 1, "tokyo": 1}
    assert set(warm(before, after).warming) == {"office"}
    (change,) = diff(before, after)
    assert (change.segment, change.kind) == ("office", "changed")
    assert "+timezone: Europe/Berlin  # where most of our customers are" in change.text


def test_it_travels_with_the_rules_word_for_word(tmp_path: Path) -> None:
    rules = next_version(None, folder(tmp_path / "rules", BERLIN, office=OFFICE))
    read = RuleSet.from_payload(rules.to_payload())
    assert read.project == rules.project and read.digests == rules.digests
    assert read.files["_project.yaml"] == BERLIN
    assert read.segments[0].zone == "Europe/Berlin"


def test_without_one_the_payload_is_as_it_always_was_and_the_zone_is_utc(tmp_path: Path) -> None:
    rules = folder(tmp_path / "rules", None, office=OFFICE)
    assert b"project" not in rules.to_payload()
    assert "_project.yaml" not in rules.files
    assert rules.segments[0].zone is None
    assert rules.digests == folder(tmp_path / "rules", "timezone: UTC\n").digests


def test_what_is_warming_is_evaluated_in_the_projects_zone_too(tmp_path: Path) -> None:
    first = next_version(None, folder(tmp_path / "rules", BERLIN, office=OFFICE, plain=PLAIN))
    changed = folder(tmp_path / "rules", BERLIN, office=OFFICE.replace("17:00", "18:00"))
    second = warm(first, next_version(first, changed))
    (office,) = (one for one in second.active.segments if one.name == "office")
    assert office.zone == "Europe/Berlin" and office.digest == first.digests["office"]


def test_until_another_zone_is_live_its_rules_go_on_in_the_one_before(tmp_path: Path) -> None:
    first = next_version(None, folder(tmp_path / "rules", BERLIN, office=OFFICE, plain=PLAIN))
    second = warm(first, next_version(first, folder(tmp_path / "rules", "timezone: Asia/Tokyo\n")))
    assert set(second.warming) == {"office"}
    read = RuleSet.from_payload(second.to_payload())
    for rules in (second, read):
        (office,) = (one for one in rules.active.segments if one.name == "office")
        assert (office.zone, office.version) == ("Europe/Berlin", 1)
        assert rules.segments[0].zone == "Asia/Tokyo"
    # Whoever changes it once more before that is live is told apart from the zone that customers are in.
    third = warm(second.active, next_version(second, folder(tmp_path / "rules", "timezone: Europe/London\n")))
    assert third.active.segments[0].zone == "Europe/Berlin"


def test_a_rule_means_the_same_whether_it_or_its_project_names_the_zone(tmp_path: Path) -> None:
    named = OFFICE.replace("when:", "timezone: Europe/Berlin\nwhen:")
    assert (
        folder(tmp_path / "one", None, office=named).digests
        == folder(tmp_path / "other", BERLIN, office=OFFICE).digests
    )


def test_in_a_folder_of_the_rules_it_is_refused(tmp_path: Path) -> None:
    folder(tmp_path / "rules", None, plain=PLAIN)
    (tmp_path / "rules" / "more").mkdir()
    (tmp_path / "rules" / "more" / "_project.yaml").write_text(BERLIN)
    with pytest.raises(RuleErrors, match="stands beside the rules"):
        load_directory(tmp_path / "rules")


def test_a_file_alone_is_read_in_the_project_beside_it(tmp_path: Path) -> None:
    folder(tmp_path / "rules", BERLIN, office=OFFICE)
    assert load_file(tmp_path / "rules" / "office.yaml").segments[0].zone == "Europe/Berlin"
    assert load_file(tmp_path / "rules" / "office.yaml").digests == load_directory(tmp_path / "rules").digests


def test_measures_of_the_population_are_told_apart_by_the_zone_of_their_hours(tmp_path: Path) -> None:
    text = "segment: spenders\nwhen:\n  rfm: {event: Order, of: properties.revenue, within: 30d, monetary_score: {gte: 4}%s}\n"
    rules = folder(tmp_path / "rules", BERLIN, spenders=text % "")
    (plain,) = rules.segments
    during = dataclasses.replace(
        plain.when.ref,  # type: ignore[union-attr]
        during=folder(tmp_path / "other", None, office=OFFICE).segments[0].when,  # type: ignore[arg-type]
    )
    timed = dataclasses.replace(plain, when=dataclasses.replace(plain.when, ref=during))  # type: ignore[type-var,arg-type]
    elsewhere = dataclasses.replace(timed, zone="Asia/Tokyo")
    assert measures(timed).keys() != measures(elsewhere).keys()
    assert measures(plain).keys() == measures(dataclasses.replace(plain, zone="Asia/Tokyo")).keys()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("timezone: Europe/Berlinn\n", "_project.yaml:1:11: 'Europe/Berlinn' is no time zone"),
        ("time_zone: UTC\n", "_project.yaml:1:1: unknown key 'time_zone'"),
        ("- UTC\n", "_project.yaml:1:1: the project's file must be a mapping, not a list"),
        ("timezone: [UTC\n", "_project.yaml:"),
    ],
)
def test_what_is_wrong_with_it_is_told_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(RuleErrors) as refused:
        folder(tmp_path / "rules", text, plain=PLAIN)
    assert told in str(refused.value)


def test_models_are_read_in_the_projects_zone_unless_they_name_one(tmp_path: Path) -> None:
    text = "model: {name}\ntask: anomaly\nfeatures: [hour]\ncandidates: [{{name: trees, pipeline: [HalfSpaceTrees]}}]\n"
    models = {
        "here.yaml": text.format(name="here"),
        "there.yaml": text.format(name="there") + "timezone: Asia/Tokyo\n",
    }
    rules = dataclasses.replace(folder(tmp_path / "rules", BERLIN, plain=PLAIN), models=models)
    following = Following(rules, Limits(), None, SCORING)
    assert following.serving is not None
    zones = {name: served.model.zone for name, served in following.serving.models.items()}
    assert zones == {"here": "Europe/Berlin", "there": "Asia/Tokyo"}
    evening = int(datetime(2026, 1, 1, 23, 30, tzinfo=UTC).timestamp() * 1000)
    here = following.serving.models["here"].features.read(Profile(), evening)
    there = following.serving.models["there"].features.read(Profile(), evening)
    assert here != there
