"""Models from the command line: checking, trying, publishing definitions and versions, and looking at what is published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cli.main import main
from cli.model_files import load_models
from cli.model_topics import GAP
from online_models import making
from online_models.parse import parse_model
from online_models.selection import OwnThresholds
from online_models.version import Lineage, ModelEvent, ModelVersion, Quality, Retired
from tests.fixtures.model_topics import ModelTopics

DAY = 86_400_000
START = 1_767_225_600_000
VIP = "segment: vip\nwhen: {event: Order, within: 30d}\n"
NEWS = "segment: news\nwhen: {event: Email Opened, within: 7d}\n"
BUYS = """\
model: buys
task: classification
target: {event: Order, within: 2d}
features: [{recency: {event: Visit}}, {count: {event: Visit, within: 7d}}]
candidates:
  - {name: line, pipeline: [StandardScaler, LogisticRegression]}
  - {name: bayes, pipeline: [GaussianNB]}
score: {every: 0s}
learn: {every: 1d, publish: 1d, least: 1}
"""
GROUPS = """\
model: groups
task: clustering
features: [{count: {event: Visit, within: 7d}}, {recency: {event: Visit}}]
candidates: [{name: means, pipeline: [KMeans]}]
"""


@pytest.fixture
def topics(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModelTopics:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEGUE_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("COLUMNS", "100")
    return ModelTopics(monkeypatch)


def folder(name: str, **files: str) -> str:
    path = Path(name)
    path.mkdir(exist_ok=True)
    for old in path.glob("*.yaml"):
        old.unlink()
    for file, text in files.items():
        (path / f"{file}.yaml").write_text(text)
    return name


def models(*words: str) -> int:
    return main(["models", *words])


def rules(*words: str) -> int:
    return main(["rules", *words])


def said(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def history(days: int = 60) -> str:
    """Visits each day; those who came twice on a day order a day later."""
    lines = []
    for day in range(days):
        for number in range(12):
            keen = (day + number) % 3 == 0
            for visit in range(3 if keen else 1):
                lines.append((START + day * DAY + number * 60_000 + visit * 1000, "Visit", number, f"v{visit}"))
            if keen:
                lines.append((START + (day + 1) * DAY + 43_200_000 + number, "Order", number, "o"))
    path = Path("history.jsonl")
    rows = [
        {"messageId": f"{at}-{number}-{tag}", "type": "track", "event": event, "userId": f"c{number}", "timestamp": at}
        for at, event, number, tag in sorted(lines)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def version(number: int, candidate: str = "line", role: Any = "champion", text: str = BUYS) -> ModelVersion:
    model = parse_model(text, "buys.yaml")
    made = next(one for one in model.candidates if one.name == candidate)
    body = making.encode(making.make(model, made))
    lineage = Lineage(START, START + DAY, 500 + number, parent=number - 1, river="0.23.0")
    return ModelVersion("buys", candidate, number, role, model.digest, START + DAY, lineage, {"roc_auc": 0.7}, body)


# --- check --------------------------------------------------------------------------------------------------------


def test_a_check_says_what_models_are_made_of(topics: ModelTopics, capsys: pytest.CaptureFixture[str]) -> None:
    assert models("check", folder("models", buys=BUYS, groups=GROUPS), "--json") == 0
    found = said(capsys)
    buys, groups = found["models"]
    assert (buys["model"], buys["target"], buys["columns"], buys["waiting"]) == ("buys", "Order within 2d", 2, 3)
    assert [one["name"] for one in buys["candidates"]] == ["line", "bayes"]
    assert (groups["target"], groups["waiting"]) == (None, 0)
    # What both count is kept once.
    assert found["typical"] < buys["typical"] + groups["typical"]
    assert models("check", "models") == 0
    out = capsys.readouterr().out
    assert "Order within 2d" in out
    assert "2 models checked" in out
    assert max(map(len, out.splitlines())) <= 100


def test_a_check_of_the_catalogue_is_what_there_is_without_a_folder(
    topics: ModelTopics, capsys: pytest.CaptureFixture[str]
) -> None:
    assert models("check", "--json") == 0
    assert "purchase" in [one["model"] for one in said(capsys)["models"]]


def test_a_check_says_all_that_is_wrong(topics: ModelTopics, capsys: pytest.CaptureFixture[str]) -> None:
    folder("models", buys=BUYS.replace("recency", "recensy"), groups=GROUPS.replace("KMeans", "KMean"))
    assert models("check", "models") == 1
    out = capsys.readouterr().out
    assert "models/buys.yaml:4:13: there is no feature 'recensy'" in out
    assert "did you mean 'recency'?" in out
    assert "models/groups.yaml:4:39:" in out
    assert "2 errors in 2 files" in out
    assert models("check", "models", "--json") == 1
    found = said(capsys)
    assert (found["valid"], {one["line"] for one in found["errors"]}) == (False, {4})
    Path("models/other.yml").write_text(BUYS)
    assert models("check", "models") == 1
    assert "rename it to other.yaml" in capsys.readouterr().out
    assert models("check", "nowhere") == 2
    assert models("check", folder("empty")) == 1


# --- try and train ------------------------------------------------------------------------------------------------


def test_a_trial_tells_how_good_a_model_would_have_been(
    topics: ModelTopics, capsys: pytest.CaptureFixture[str]
) -> None:
    folder("models", buys=BUYS, groups=GROUPS)
    assert models("try", "models/buys.yaml", "--history", history(), "--json") == 0
    found = said(capsys)
    assert found["history"]["refused"] == {}
    (model,) = found["models"]
    assert model["examples"] > 300
    assert set(model["candidates"]) == {"line", "bayes"}
    figures = model["candidates"][model["champion"]]
    assert figures["roc_auc"] > 0.6
    assert model["baseline"]["log_loss"] > 0
    assert sum(one["weight"] for one in model["calibration"]["line"]) == pytest.approx(
        figures["seen"] * figures["coverage"], abs=1
    )
    assert model["over_time"][-1]["candidates"]["line"]["roc_auc"] == model["candidates"]["line"]["roc_auc"]
    assert len(model["over_time"]) <= 60
    assert topics.records == {}
    assert models("try", "models/buys.yaml", "--history", "history.jsonl") == 0
    out = capsys.readouterr().out
    assert "base rate" in out
    assert "AUC over time" in out
    assert "lowest tenth" in out
    assert "bayes against line" in out
    assert max(map(len, out.splitlines())) <= 100
    assert models("try", "models", "--history", "history.jsonl") == 2


def test_a_trial_is_compared_with_the_live_model(topics: ModelTopics, capsys: pytest.CaptureFixture[str]) -> None:
    folder("models", buys=BUYS)
    topics.put(Quality("buys", "d", START, "line", {"line": {"roc_auc": 0.777, "examples": 9}}, []))
    assert models("try", "models/buys.yaml", "--history", history(20)) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("live: line"))
    assert "0.777" in line


def test_what_was_trained_is_published_above_all_that_is_there(
    topics: ModelTopics, capsys: pytest.CaptureFixture[str]
) -> None:
    folder("models", buys=BUYS, groups=GROUPS)
    words = ("train", "buys", "--models", "models", "--history", history(20))
    assert models(*words) == 0
    assert topics.records == {}
    assert models(*words, "--publish") == 0
    got = capsys.readouterr()
    assert "no definition of buys: `segue models apply`" in got.err
    first = topics.versions
    assert [(one.version, one.lineage.origin, one.lineage.parent) for one in first] == [
        (1, "history", 0),
        (2, "history", 0),
    ]
    assert sorted(one.candidate for one in first) == ["bayes", "line"]
    assert all(one.lineage.examples > 50 for one in first)
    topics.put(version(40))
    assert models(*words, "--publish") == 0
    assert [one.version for one in topics.versions[3:]] == [40 + GAP + 1, 40 + GAP + 2]
    model = load_models(Path("models")).models[0]
    for one in first:
        candidate = next(each for each in model.candidates if each.name == one.candidate)
        assert isinstance(making.decode(model, candidate, one.body).predict([1.0, 2.0]), float)
    assert models("train", "nobody", "--models", "models", "--history", "history.jsonl") == 2


# --- definitions --------------------------------------------------------------------------------------------------


def test_definitions_go_with_the_rules_that_are_live(topics: ModelTopics, capsys: pytest.CaptureFixture[str]) -> None:
    folder("models", buys=BUYS)
    assert models("apply", "models") == 2
    assert "segue rules apply" in capsys.readouterr().err
    assert rules("apply", folder("rules", vip=VIP), "--no-backfill") == 0
    assert models("apply", "models", "-m", "first", "--author", "ann") == 0
    out = capsys.readouterr().out
    assert "added    buys" in out
    assert "segue submit --from-savepoint latest" in out, "the job that runs has no learner"
    newest = topics.rules.newest
    assert (newest.version, newest.sources, newest.models) == (2, {"vip.yaml": VIP}, {"buys.yaml": BUYS})
    assert (newest.author, newest.message, newest.stage) == ("ann", "first", 1)
    assert {one.name: one.version for one in newest.segments} == {"vip": 1}
    assert models("apply", "models") == 0
    assert "nothing changed: version 2" in capsys.readouterr().out
    assert topics.rules.newest.version == 2


def test_what_becomes_of_each_model_is_said(topics: ModelTopics, capsys: pytest.CaptureFixture[str]) -> None:
    rules("apply", folder("rules", vip=VIP), "--no-backfill")
    other = GROUPS.replace("groups", "other")
    models("apply", folder("models", buys=BUYS, groups=GROUPS, other=other))
    changed = GROUPS.replace("within: 7d", "within: 8d")
    capsys.readouterr()
    assert models("apply", folder("models", buys=BUYS + "promote: {margin: 5%}\n", groups=changed), "--json") == 0
    found = said(capsys)
    assert [(one["model"], one["kind"]) for one in found["changes"]] == [
        ("buys", "reworded"),
        ("groups", "changed"),
        ("other", "removed"),
    ]
    assert found["version"] == 3
    assert topics.rules.newest.message == "models: changed groups; removed other; reworded buys"


def test_all_models_are_removed_only_by_saying_so(topics: ModelTopics, capsys: pytest.CaptureFixture[str]) -> None:
    rules("apply", folder("rules", vip=VIP), "--no-backfill")
    models("apply", folder("models", buys=BUYS))
    capsys.readouterr()
    assert models("apply", folder("models")) == 1
    assert models("apply", "models", "--none") == 2
    assert topics.rules.newest.models
    assert models("apply", "--none") == 0
    out = capsys.readouterr().out
    assert "removed  buys" in out
    assert "from-savepoint" not in out
    assert (topics.rules.newest.version, topics.rules.newest.models) == (3, {})
    assert models("apply", folder("models", buys=BUYS)) == 0
    assert "from-savepoint" not in capsys.readouterr().out, "the job has had a learner since there were models"
    assert models("apply", "--none") == 0
    assert topics.rules.newest.sources == {"vip.yaml": VIP}


def test_definitions_that_are_not_valid_are_not_published(
    topics: ModelTopics, capsys: pytest.CaptureFixture[str]
) -> None:
    rules("apply", folder("rules", vip=VIP), "--no-backfill")
    assert models("apply", folder("models", buys=BUYS, groups=GROUPS.replace("KMeans", "KMean"))) == 1
    assert models("apply", "models/buys.yaml") == 2
    assert topics.rules.newest.version == 1


def test_nothing_is_published_over_rules_that_are_warming(
    topics: ModelTopics, capsys: pytest.CaptureFixture[str]
) -> None:
    rules("apply", folder("rules", vip=VIP), "--no-backfill")
    rules("apply", folder("rules", vip=VIP, news=NEWS), "--detach")
    assert models("apply", folder("models", buys=BUYS)) == 2
    assert "still warming" in capsys.readouterr().err
    assert topics.rules.newest.version == 2


def test_segments_that_ask_for_a_model_that_is_gone_are_told_of(
    topics: ModelTopics, capsys: pytest.CaptureFixture[str]
) -> None:
    rules("apply", folder("rules", hot="segment: hot\nwhen: {score: {model: heat, gte: 0.5}}\n"), "--no-backfill")
    assert models("apply", folder("models", buys=BUYS)) == 0
    assert "segment hot asks for heat" in capsys.readouterr().err


def test_whatever_is_done_to_rules_models_stay(topics: ModelTopics, capsys: pytest.CaptureFixture[str]) -> None:
    rules("apply", folder("rules", vip=VIP), "--no-backfill")
    models("apply", folder("models", buys=BUYS))
    published = {"buys.yaml": BUYS}
    # A folder of rules has seen a version that changed models alone.
    assert rules("apply", folder("rules", vip=VIP.replace("30d", "60d")), "--no-backfill") == 0
    assert (topics.rules.newest.version, topics.rules.newest.models) == (3, published)
    assert rules("rollback", "1", "--no-backfill") == 0
    assert (topics.rules.newest.version, topics.rules.newest.models) == (4, published)
    assert rules("pull", "rules") == 0
    assert sorted(one.name for one in Path("rules").glob("*.yaml")) == ["vip.yaml"]
    assert rules("apply", folder("rules", vip=VIP, news=NEWS), "--detach") == 0
    assert topics.rules.newest.stage == 0
    assert topics.rules.newest.models == published
    assert rules("apply", "rules", "--no-backfill") == 0
    assert (topics.rules.newest.stage, topics.rules.newest.models) == (1, published)
    capsys.readouterr()
    assert rules("diff", "1", "2", "--json") == 0
    assert said(capsys)["changes"] == []


# --- versions -----------------------------------------------------------------------------------------------------


def live(topics: ModelTopics) -> None:
    rules("apply", folder("rules", vip=VIP), "--no-backfill")
    models("apply", folder("models", buys=BUYS))
    topics.put(version(1), version(2, "bayes", "challenger"), version(3), Retired("buys", "line", 1))
    figures = {"line": {"roc_auc": 0.75, "log_loss": 0.5, "base_rate": 0.3, "examples": 503, "coverage": 0.9, "version": 3,
                        "importance": {"count": 0.1, "recency": 0.01}}, "bayes": {"roc_auc": 0.7, "examples": 502}}  # fmt: skip
    scores = {"moments": 1200, "coverage": 0.97, "age_median": 3_600_000, "age_p95": 2 * DAY}
    topics.put(
        Quality("buys", "d", START, "line", figures, [], scores),
        ModelEvent(
            "buys", "drift", START + 5, "line", {"of": "error", "detector": "adwin", "before": 0.1, "after": 0.4}
        ),
    )


def test_models_are_listed_with_their_champions(topics: ModelTopics, capsys: pytest.CaptureFixture[str]) -> None:
    live(topics)
    capsys.readouterr()
    assert models("list", "--json") == 0
    (found,) = said(capsys)["models"]
    assert found == {
        "model": "buys", "task": "classification", "state": "learning", "champion": "line", "version": 3, "examples": 503,
        "figure": "roc_auc", "value": 0.75, "coverage": 0.9, "at": "2026-01-01T00:00:00.000Z", "drifts": 1, "promotions": 0,
    }  # fmt: skip
    assert models("list") == 0
    assert "AUC 0.750" in capsys.readouterr().out


def test_of_what_was_only_trained_the_champion_is_listed_and_shown(
    topics: ModelTopics, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rules("apply", folder("rules", vip=VIP), "--no-backfill")
    models("apply", folder("models", buys=BUYS))
    topics.put(version(1), version(2, "bayes", "challenger"))
    capsys.readouterr()
    assert models("list", "--json") == 0
    (found,) = said(capsys)["models"]
    assert (found["state"], found["champion"], found["version"]) == ("trained", "line", 1)
    assert models("show", "buys") == 0
    assert "buys/line/1" in capsys.readouterr().out
    monkeypatch.delenv("COLUMNS")
    assert models("list") == 0
    assert "promotions" in capsys.readouterr().out, "what is no terminal has room for whole words"


def test_a_model_is_shown_with_what_happened_to_it(topics: ModelTopics, capsys: pytest.CaptureFixture[str]) -> None:
    live(topics)
    capsys.readouterr()
    assert models("show", "buys") == 0
    out = capsys.readouterr().out
    assert "line champion" in out
    assert "drift (line): error 0.100 → 0.400 by adwin" in out
    assert "scores: 97.0% of 1,200 moments had one; the one before was 1h old (median), 2d (95%)" in out
    assert out.index("count") < out.index("recency")
    assert models("show", "buys", "--version", "3", "--json") == 0
    found = said(capsys)
    assert (found["lineage"]["examples"], found["role"], found["created_at"]) == (
        503,
        "champion",
        "2026-01-02T00:00:00.000Z",
    )
    assert found["body"] > 100
    topics.put(msgspec.structs.replace(version(4), thresholds=OwnThresholds("gender", 0.5, {"f": 0.4})))
    assert models("show", "buys", "--version", "4") == 0
    assert "selected  from 0.500; by gender from: f 0.400" in capsys.readouterr().out
    assert models("show", "buys", "--version", "1") == 2
    assert "there is no version 1 of buys" in capsys.readouterr().err
    assert models("show", "nobody") == 2


@pytest.mark.parametrize("kind", ["restarted", "removed"])
def test_figures_of_what_a_model_was_before_are_not_shown(
    kind: Any, topics: ModelTopics, capsys: pytest.CaptureFixture[str]
) -> None:
    live(topics)
    topics.put(ModelEvent("buys", kind, START + 9), Retired("buys", "line", 3), Retired("buys", "bayes", 2))
    capsys.readouterr()
    assert models("list", "--json") == 0
    (found,) = said(capsys)["models"]
    assert (found["state"], found["version"], found["value"]) == ("no version yet", None, None)
    assert models("show", "buys") == 0
    out = capsys.readouterr().out
    assert "there is no version of it now" in out
    assert out.rstrip().endswith(kind)
    models("apply", "--none")
    capsys.readouterr()
    assert models("list", "--json") == 0
    assert [one["state"] for one in said(capsys)["models"]] == ["removed"]


def test_the_history_lists_versions_and_events(topics: ModelTopics, capsys: pytest.CaptureFixture[str]) -> None:
    live(topics)
    capsys.readouterr()
    assert models("history", "buys", "--json") == 0
    found = said(capsys)
    assert [(one["version"], one["candidate"]) for one in found["versions"]] == [(3, "line"), (2, "bayes")]
    assert [one["kind"] for one in found["events"]] == ["drift"]
    topics.put(ModelEvent("buys", "refused", START, "line", {"version": 7, "reason": "it is broken"}))
    assert models("history", "buys") == 0
    out = capsys.readouterr().out
    assert "challenger" in out
    assert "refused (line): version 7: it is broken" in out


def test_a_rollback_is_the_old_version_with_a_new_number(
    topics: ModelTopics, capsys: pytest.CaptureFixture[str]
) -> None:
    live(topics)
    old = version(2, "bayes", "challenger")
    assert models("rollback", "buys", "2", "-m", "drifted away") == 0
    made = topics.versions[-1]
    assert (made.version, made.candidate, made.role, made.body) == (3 + GAP, "bayes", "challenger", old.body)
    assert (made.lineage.origin, made.lineage.parent, made.lineage.message) == ("rollback", 2, "drifted away")
    assert models("rollback", "buys", "2", "--champion") == 0
    assert (topics.versions[-1].version, topics.versions[-1].role) == (3 + 2 * GAP, "champion")
    assert models("rollback", "buys", "1") == 2


def test_who_is_champion_stays_it_whatever_the_version_was_then(
    topics: ModelTopics, capsys: pytest.CaptureFixture[str]
) -> None:
    """A version from before its candidate's promotion left customers to another candidate, or to nobody."""
    live(topics)
    topics.put(version(4, "line", "challenger"), version(5, "bayes", "champion"))
    assert models("rollback", "buys", "2", "--json") == 0
    assert (topics.versions[-1].candidate, topics.versions[-1].role) == ("bayes", "champion")
    capsys.readouterr()
    assert models("rollback", "buys", "3", "--json") == 0
    found = said(capsys)
    assert (found["candidate"], found["role"], found["replaced"]) == ("line", "champion", "bayes")
    assert models("rollback", "buys", "5") == 0
    assert "it takes the place of line as champion" in capsys.readouterr().out


def test_nobody_goes_back_to_a_model_that_is_not_published_any_more(
    topics: ModelTopics, capsys: pytest.CaptureFixture[str]
) -> None:
    live(topics)
    models("apply", folder("models", groups=GROUPS))
    written = len(topics.versions)
    assert models("rollback", "buys", "3") == 2
    assert "no model buys is published" in capsys.readouterr().err
    assert len(topics.versions) == written


def test_nobody_goes_back_to_another_definition(topics: ModelTopics, capsys: pytest.CaptureFixture[str]) -> None:
    live(topics)
    models("apply", folder("models", buys=BUYS.replace("2d", "3d")))
    written = len(topics.versions)
    assert models("rollback", "buys", "3") == 2
    assert "another definition of buys" in capsys.readouterr().err
    assert len(topics.versions) == written


def test_records_that_nobody_can_read_are_passed_over(topics: ModelTopics, capsys: pytest.CaptureFixture[str]) -> None:
    live(topics)
    topics.publish(None, "model-updates", b"x", b"\x01\x02")  # type: ignore[arg-type]
    other = json.dumps({"model": [], "kind": "drift", "candidate": "", "at": None, "detail": {}}).encode()
    for value in (b"no JSON", other):
        topics.publish(None, "model-quality", b"buys", value)  # type: ignore[arg-type]
    capsys.readouterr()
    assert models("list", "--json") == 0
    got = capsys.readouterr()
    assert len(json.loads(got.out)["models"]) == 1
    assert "this is no record of a model" in got.err
