"""The time zone of a project: how it is written, where it counts, and that it goes wherever the rules go."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

import cli.published
from cli.origin import carry_out, merge, texts_digest
from cli.published import Published, apply_rules
from cli.rule_files import local_texts
from cli.rule_tests import run_tests
from flink_jobs.following import Following
from flink_jobs.models import SCORING
from flink_jobs.settings import Settings
from profiles import Event, Profile, encode_profile
from rules.definition import During, Rfm
from rules.errors import RuleErrors
from rules.handover import Changeover
from rules.history import History
from rules.measured import measures
from rules.plan import Limits
from rules.project import FILE, Project, in_zone, read_project
from rules.rule_set import RuleSet, diff, load_directory, load_file, next_version, warm
from rules.ruled import active, live

BERLIN = "# where we are\ntimezone: Europe/Berlin\n"
PLAIN = "segment: plain\nwhen: {event: A, within: 7d}\n"
OWN = "segment: own\ntimezone: Asia/Tokyo\nwhen: {during: {weekdays: mon-fri}}\n"
INNER = "segment: inner\nwhen: {during: {weekdays: mon, timezone: Asia/Tokyo}}\n"
LOCAL = 'segment: local\nwhen: {during: {hours: "9:00-10:00"}}\n'
EVENTS = "segment: events\nwhen: {event: A, within: 7d, during: {weekdays: mon}}\n"
LEAVES = "segment: leaves\nwhen: {event: A, within: 7d}\nexit: {on: {event: B, during: {weekdays: mon}}}\n"
ALL = {"plain": PLAIN, "own": OWN, "inner": INNER, "local": LOCAL, "events": EVENTS, "leaves": LEAVES}
ASK = {"local", "events", "leaves"}

HOUR = 3_600_000
MONDAYS = During((0,))


def folder(path: Path, project: str | None, rules: dict[str, str] = ALL) -> RuleSet:
    path.mkdir(exist_ok=True)
    for name, text in rules.items():
        (path / f"{name}.yaml").write_text(text, "utf-8")
    (path / FILE).unlink(missing_ok=True)
    if project is not None:
        (path / FILE).write_text(project, "utf-8")
    return load_directory(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("time_zone: Europe/Berlin", "f:1:1: unknown key 'time_zone' (did you mean 'timezone'?)"),
        ("# x\ntimezone: Europe/Berlln", "f:2:11: 'Europe/Berlln' is no time zone"),
        ("timezone: 2", "f:1:11: `timezone` must be text"),
        ("timezone: Europe/Berlin\nowner: me", "f:2:1: unknown key 'owner'"),
        ("{}", "f:1:1: 'timezone' is missing here"),
        ("- a", "f:1:1: the project's file must be a mapping"),
        ("", "f:1:1: the file is empty"),
        ("timezone: UTC\n" + "#" * 10_000, "f:1:1: the file has more than 10,000"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, expected: str) -> None:
    with pytest.raises(RuleErrors) as caught:
        read_project(text, "f")
    (error,) = caught.value.errors
    assert str(error).startswith(expected)


def test_the_file_is_no_segment_and_is_looked_for_at_the_top_alone(tmp_path: Path) -> None:
    rules = folder(tmp_path, BERLIN)
    assert {one.name for one in rules.segments} == ALL.keys()
    assert rules.project == Project("Europe/Berlin", BERLIN)
    assert load_file(tmp_path / "local.yaml").segments[0].zone == "Europe/Berlin"
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / FILE).write_text(BERLIN)
    with pytest.raises(RuleErrors, match="stands beside the rules"):
        load_directory(tmp_path)


def test_another_zone_is_another_meaning_of_what_asks_for_local_time_and_of_nothing_else(tmp_path: Path) -> None:
    utc, berlin = folder(tmp_path, None), folder(tmp_path, BERLIN)
    changed = {name for name, digest in utc.digests.items() if berlin.digests[name] != digest}
    assert changed == ASK
    assert folder(tmp_path, "timezone: UTC").digests == utc.digests
    second = warm(utc, next_version(utc, berlin))
    assert {one.name for one in second.segments if one.version == 2} == ASK == second.warming.keys()
    found = diff(utc, berlin)
    assert {(one.segment, one.kind) for one in found} == {(name, "changed") for name in ASK}
    assert all("+timezone: Europe/Berlin" in one.text for one in found)


def test_a_rule_that_named_the_zone_means_the_same_when_the_project_does(tmp_path: Path) -> None:
    named = folder(tmp_path, None, {"local": f"timezone: Europe/Berlin\n{LOCAL}"})
    assert folder(tmp_path, BERLIN, {"local": LOCAL}).digests == named.digests


def test_measures_of_the_population_are_told_apart_by_the_zone_of_their_hours(tmp_path: Path) -> None:
    text = "segment: spenders\nwhen: {rfm: {event: A, of: properties.x, within: 30d, monetary_score: {gte: 4}}}\n"
    rules = {one.name: one for one in folder(tmp_path, None, ALL | {"spenders": text}).segments}
    plain, when = rules["spenders"], rules["spenders"].when
    assert isinstance(when, Rfm)
    timed = dataclasses.replace(
        plain, when=dataclasses.replace(when, ref=dataclasses.replace(when.ref, during=MONDAYS))
    )
    for segment, told_apart in ((plain, False), (timed, True)):
        elsewhere = in_zone(segment, "Europe/Berlin")
        assert (elsewhere.zone == "Europe/Berlin") is told_apart
        assert (measures(segment).keys() != measures(elsewhere).keys()) is told_apart


def test_it_travels_with_its_words_and_a_payload_without_it_is_as_ever(tmp_path: Path) -> None:
    utc, berlin = folder(tmp_path, None), folder(tmp_path, BERLIN)
    # A job of an older build refuses fields that it does not know: who sets nothing is not to feel the newer one.
    assert not {"project", "meant_in"} & json.loads(utc.to_payload()).keys()
    came = RuleSet.from_payload(berlin.to_payload())
    assert came == dataclasses.replace(berlin, segments=came.segments)
    assert came.digests == berlin.digests
    assert came.files == local_texts(tmp_path) == berlin.files
    assert RuleSet.from_payload(utc.to_payload()).project == Project()


@pytest.mark.parametrize(
    "change", [{"project": "timezone: Mars"}, {"meant_in": {"plain": "Mars"}}, {"meant_in": {"no-such": "UTC"}}]
)
def test_a_payload_that_says_what_cannot_be_is_refused(change: dict[str, object], tmp_path: Path) -> None:
    payload = json.loads(folder(tmp_path, BERLIN).to_payload()) | {"warming": {"plain": None}} | change
    with pytest.raises(RuleErrors):
        RuleSet.from_payload(json.dumps(payload).encode())


def test_while_segments_are_warming_they_are_in_the_zone_in_which_they_were(tmp_path: Path) -> None:
    first = folder(tmp_path, None)
    second = RuleSet.from_payload(warm(first, next_version(first, folder(tmp_path, BERLIN))).to_payload())
    assert second.active.digests == first.digests
    # Another version takes over while that one is warming: what is in force is still in the first one's zone.
    third = warm(
        second.active, next_version(second, folder(tmp_path, BERLIN, ALL | {"plain": f"{PLAIN}holdout: 5%\n"}))
    )
    assert third.warming.keys() == {*ASK, "plain"}
    assert RuleSet.from_payload(third.to_payload()).active.digests == first.digests
    back = warm(second.active, next_version(second, folder(tmp_path, None, ALL)))
    assert not back.warming.keys() - {"plain"}


def test_whoever_changes_the_zone_once_more_before_it_is_live_is_told_apart_from_the_one_in_force(
    tmp_path: Path,
) -> None:
    first = next_version(None, folder(tmp_path, BERLIN))
    second = warm(first, next_version(first, folder(tmp_path, "timezone: Asia/Seoul")))
    third = warm(second.active, next_version(second, folder(tmp_path, "timezone: Europe/London")))
    for rules in (second, third, RuleSet.from_payload(third.to_payload())):
        assert rules.warming.keys() == ASK
        (local,) = (one for one in rules.active.segments if one.name == "local")
        assert (local.zone, local.version) == ("Europe/Berlin", 1)
    assert {one.zone for one in third.segments if one.name in ASK} == {"Europe/London"}


def test_what_is_warming_for_another_reason_stays_in_the_projects_zone(tmp_path: Path) -> None:
    first = next_version(None, folder(tmp_path, BERLIN))
    changed = folder(tmp_path, BERLIN, ALL | {"local": LOCAL.replace("10:00", "11:00")})
    second = RuleSet.from_payload(warm(first, next_version(first, changed)).to_payload())
    assert second.warming.keys() == {"local"} and not second.meant_in
    assert second.active.digests == first.digests


def test_a_pull_brings_it_and_takes_it_away(tmp_path: Path) -> None:
    utc, berlin = folder(tmp_path / "a", None), folder(tmp_path / "b", BERLIN)
    assert texts_digest(utc.files) != texts_digest(berlin.files)
    carry_out(tmp_path / "a", merge(utc.files, local_texts(tmp_path / "a"), berlin.files))
    assert load_directory(tmp_path / "a").project == berlin.project
    carry_out(tmp_path / "a", merge(berlin.files, local_texts(tmp_path / "a"), utc.files))
    assert load_directory(tmp_path / "a").digests == utc.digests


TESTED = """segment: monday
when: {during: {weekdays: mon}}
tests:
  - name: the day begins at midnight in Berlin, in winter at 23:00 UTC
    now: 2026-03-01T22:00:00Z
    given:
      - {at: 0s, event: A}
    expect:
      - {at: 59m59.999s, in: false}
      - {at: 60m, entered: true}
  - name: in summer at 22:00 UTC, and it ends on the Monday's own midnight
    now: 2026-03-29T21:00:00Z
    given:
      - {at: 0s, event: A}
    expect:
      - {at: 59m59.999s, in: false}
      - {at: 60m, entered: true}
      - {at: 24h59m59.999s, in: true}
      - {at: 25h, exited: true}
  - name: the customer's own zone comes first
    now: 2026-03-01T22:00:00Z
    given:
      - {at: 0s, event: A, context: {timezone: UTC}}
    expect:
      - {at: 119m59.999s, in: false}
      - {at: 2h, entered: true}
"""


def test_tests_run_in_the_zone_of_the_project(tmp_path: Path) -> None:
    berlin = run_tests(folder(tmp_path, BERLIN, {"monday": TESTED}))
    assert [failure for one in berlin for failure in one.failures] == []
    utc = run_tests(folder(tmp_path, None, {"monday": TESTED}))
    assert [one.passed for one in utc] == [False, False, True]


def test_a_change_that_was_backfilled_is_as_if_the_zone_had_been_so_from_the_start(tmp_path: Path) -> None:
    sunday = 1_772_319_600_000  # 2026-02-28T23:00:00Z; a day later it is Monday in Berlin and Sunday in UTC
    first = folder(tmp_path, None)
    second = warm(first, next_version(first, folder(tmp_path, BERLIN)))
    events = [Event(f"e{at}", "A", sunday + at, "c", received_at=sunday + at) for at in (24 * HOUR - 1, 24 * HOUR)]
    before, fresh = History(first), History(dataclasses.replace(second, warming={}, meant_in={}))
    for event in events:
        before.take(event, event.event_time)
        fresh.take(event, event.event_time)
    known, shadow = before.profiles["c"], fresh.profiles["c"]
    assert "events" not in known.segments or not known.segments["events"][0]
    assert shadow.segments["events"][0]
    changeover = Changeover(active(second), live(second), second.warming)
    parked = changeover.park(known, 0, 10, encode_profile(shadow))
    merged, _ = changeover.merge(parked, events[-1].event_time, "c")
    assert merged is not None
    assert _inside(merged) == _inside(shadow) == {"events", "leaves", "plain", "own", "inner"}
    assert merged.slots == shadow.slots


def _inside(profile: Profile) -> set[str]:
    return {name for name, entry in profile.segments.items() if entry[0]}


def test_models_are_read_in_the_projects_zone_unless_they_name_one(tmp_path: Path) -> None:
    text = "model: {name}\ntask: anomaly\nfeatures: [hour]\ncandidates: [{{name: trees, pipeline: [HalfSpaceTrees]}}]\n"
    models = {
        "here.yaml": text.format(name="here"),
        "there.yaml": text.format(name="there") + "timezone: Asia/Tokyo\n",
    }
    rules = dataclasses.replace(folder(tmp_path, BERLIN), models=models)
    following = Following(rules, Limits(), None, SCORING)
    assert following.serving is not None
    zones = {name: served.model.zone for name, served in following.serving.models.items()}
    assert zones == {"here": "Europe/Berlin", "there": "Asia/Tokyo"}
    evening = int(datetime(2026, 1, 1, 23, 30, tzinfo=UTC).timestamp() * 1000)
    here = following.serving.models["here"].features.read(Profile(), evening)
    there = following.serving.models["there"].features.read(Profile(), evening)
    assert here != there


@pytest.mark.parametrize(("models", "published"), [({}, False), ({"m.yaml": "model: m"}, True)])
def test_another_zone_is_another_version_where_there_are_models_to_read_in_it(
    models: dict[str, str], published: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dataclasses.replace(folder(tmp_path, None, {"plain": PLAIN}), models=models)
    local = folder(tmp_path, BERLIN, {"plain": PLAIN})
    told: list[RuleSet] = []
    monkeypatch.setattr(cli.published, "publish_rules", lambda settings, rules, after: told.append(rules))
    known = Published(before, ())
    applied = apply_rules(Settings(), local, author="anna", published=known)
    assert applied.published is published and [one.models for one in told] == [models] * published
