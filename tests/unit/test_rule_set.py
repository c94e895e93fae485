"""Rule sets: read from folders, sent as bytes, numbered, compared; and refused whole where anything is wrong."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from rules.rule_set import (
    MOST_PAYLOAD,
    RuleErrors,
    RuleSet,
    diff,
    load_directory,
    load_file,
    newest_valid,
    next_version,
    read_header,
    warm,
)

CATALOG = Path(__file__).parents[2] / "rules" / "catalog"
VIP = "segment: vip\nwhen: {event: Order Completed, within: 30d, count: {gte: 3}}\n"
NEWS = "segment: news\nwhen: {event: Email Opened, within: 7d}\n"


def folder(path: Path, **texts: str) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (path / f"{name}.yaml").write_text(text)
    return path


def refused(path: Path) -> list[str]:
    with pytest.raises(RuleErrors) as caught:
        load_directory(path)
    return [str(error).removeprefix(f"{path}/") for error in caught.value.errors]


def test_segments_are_ordered_by_name_wherever_their_files_are(tmp_path: Path) -> None:
    folder(tmp_path, vip=VIP)
    folder(tmp_path / "mails", news=NEWS)
    folder(tmp_path / ".drafts", broken="not: a rule")
    rules = load_directory(tmp_path)
    assert [one.name for one in rules.segments] == ["news", "vip"]
    assert dict(rules.sources) == {"mails/news.yaml": NEWS, "vip.yaml": VIP}
    assert rules.version == 1
    assert {one.version for one in rules.segments} == {1}
    assert rules.segments[0].file == str(tmp_path / "mails" / "news.yaml")
    assert len(rules.plan.segments) == 2


def test_errors_of_all_files_come_at_once(tmp_path: Path) -> None:
    folder(tmp_path, a="segment: a\nwhen: {evnt: A}\n", b="segment: c\nwhen: {event: A}\n", vip=VIP)
    assert [one.split(" ")[0] for one in refused(tmp_path)] == ["a.yaml:2:8:", "b.yaml:1:10:"]


def test_a_segment_that_is_there_twice(tmp_path: Path) -> None:
    folder(tmp_path / "a", vip=VIP)
    folder(tmp_path / "b", vip=f"# another\n{VIP}")
    (error,) = refused(tmp_path)
    assert error == f"b/vip.yaml:2:10: segment 'vip' is there twice (the other is in {tmp_path}/a/vip.yaml:1:10)"


def test_folders_that_are_no_rule_sets(tmp_path: Path) -> None:
    assert "there is no such directory" in str(refused(tmp_path / "none"))
    assert "there is no rule file" in str(refused(folder(tmp_path / "empty")))
    other = folder(tmp_path / "other", vip=VIP)
    (other / "news.yml").write_text(NEWS)  # silently passed over, it would be a segment that nobody ever enters
    assert refused(other) == ["news.yml:1:1: a rule file ends in .yaml (rename it to news.yaml)"]


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (folder(tmp_path) / "vip.yaml").write_bytes(b"segment: vip\n# caf\xe9\n")
    assert refused(tmp_path) == ["vip.yaml:2:6: this byte is not UTF-8 (save the file as UTF-8)"]
    (tmp_path / "vip.yaml").write_bytes(b"x" * 1_000_010)
    assert refused(tmp_path) == ["vip.yaml:1:1: the file has more than 1,000,000 bytes (split it)"]
    (tmp_path / "vip.yaml").write_bytes(b"\xef\xbb\xbf" + VIP.encode())  # as some editors on Windows save
    assert load_directory(tmp_path).segments[0].name == "vip"


def test_a_payload_brings_everything_along() -> None:
    rules = next_version(None, load_directory(CATALOG))
    received = RuleSet.from_payload(rules.to_payload())
    assert received == rules
    assert received.to_payload() == rules.to_payload()
    assert received.scenarios.keys() == rules.scenarios.keys()
    header = read_header(rules.to_payload())
    assert header is not None
    assert (header.version, header.segments["high-value"]) == (1, 1)


def payload(**changes: Any) -> bytes:
    whole = {
        "format": 1,
        "version": 3,
        "created_at": 5,
        "author": "ann",
        "message": "",
        "segments": {"vip": 2},
        "files": {"vip.yaml": VIP},
    }
    return json.dumps({key: value for key, value in {**whole, **changes}.items() if value is not None}).encode()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it is not JSON in UTF-8"),
        (b"\xff", "it is not JSON in UTF-8"),
        (b"null", "Expected `object`, got `null`"),
        (b"[" * 100_000, "this is no rule set"),
        (b'{"files":' + b"[" * 100_000, "this is no rule set"),
        (payload(format=2), "the rule set has format 2, this build reads 1"),
        (payload(version=0), "the version of a rule set is a number from 1 on"),
        (payload(version="3"), "Expected `int`, got `str` - at `$.version`"),
        (payload(author=None), "missing required field `author`"),
        (payload(extra=1), "unknown field `extra`"),
        (payload(created_at=-1), "`created_at` is not a time"),
        (payload(files={}), "a rule set has from 1 to 10,000 files, not 0"),
        (payload(files={"vip": VIP}), "'vip' is not the name of a rule file"),
        (payload(files={"a\u0000.yaml": VIP}), "is not the name of a rule file"),
        (payload(segments={}), "do not name the same segments: vip"),
        (payload(segments={"vip": 4}), "segment 'vip' has version 4, which is not one from 1 to 3"),
        (payload(segments={"vip": 0}), "segment 'vip' has version 0"),
        (payload(files={"vip.yaml": VIP.replace("within", "withn")}), "vip.yaml:2:32: unknown key 'withn'"),
        (payload(files={"vip.yaml": VIP, "a/vip.yaml": VIP}), "segment 'vip' is there twice"),
        (b" " * (MOST_PAYLOAD + 1), "more than 8,388,608"),
    ],
)
def test_payloads_that_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(RuleErrors) as caught:
        RuleSet.from_payload(data)
    assert message in str(caught.value)


def test_a_set_that_is_too_large_is_not_published() -> None:
    with pytest.raises(RuleErrors, match="more than 8,388,608"):
        RuleSet(1, (), sources={"a.yaml": "#" * MOST_PAYLOAD}).to_payload()


def test_only_what_changes_gets_a_new_version(tmp_path: Path) -> None:
    first = next_version(None, load_directory(folder(tmp_path, vip=VIP, news=NEWS)))
    assert (first.version, {one.name: one.version for one in first.segments}) == (1, {"news": 1, "vip": 1})
    reworded = VIP + "description: Buys a lot.\n"
    second = next_version(first, load_directory(folder(tmp_path, vip=reworded, news=NEWS.replace("7d", "8d"))))
    assert (second.version, {one.name: one.version for one in second.segments}) == (2, {"news": 2, "vip": 1})
    third = next_version(second, load_directory(folder(tmp_path, new=VIP.replace("vip", "new"))))
    assert {one.name: one.version for one in third.segments} == {"new": 3, "news": 2, "vip": 1}


def test_differences_by_segment(tmp_path: Path) -> None:
    old = load_directory(folder(tmp_path / "old", vip=VIP, news=NEWS, gone=VIP.replace("vip", "gone")))
    reworded = NEWS + "owner: ann@example.com\n"
    new = load_directory(
        folder(tmp_path / "new", vip=VIP.replace("30d", "60d"), news=reworded, come=VIP.replace("vip", "come"))
    )
    changes = diff(old, new)
    assert [(one.segment, one.kind) for one in changes] == [
        ("come", "added"),
        ("gone", "removed"),
        ("news", "reworded"),
        ("vip", "changed"),
    ]
    assert "-when: {event: Order Completed, within: 30d, count: {gte: 3}}" in changes[3].text
    assert "+when: {event: Order Completed, within: 60d, count: {gte: 3}}" in changes[3].text
    assert diff(old, old) == []
    assert {one.kind for one in diff(None, old)} == {"added"}


def test_one_file_alone(tmp_path: Path) -> None:
    rules = load_file(folder(tmp_path, vip=VIP) / "vip.yaml")
    assert rules.digests.keys() == {"vip"}


def test_each_segment_more_costs_as_much_as_those_before(tmp_path: Path) -> None:
    text = (CATALOG / "viewed-not-bought.yaml").read_text()

    def calls(many: int) -> int:
        """How many functions are called to read so many segments: the same for every run, which no time is."""
        files = {f"s{n}": text.replace("segment: viewed-not-bought", f"segment: s{n}") for n in range(many)}
        place = folder(tmp_path / str(many), **files)
        count = 0

        def note(frame: FrameType, kind: str, what: object) -> None:
            nonlocal count
            count += kind in ("call", "c_call")

        before = sys.getprofile()
        sys.setprofile(note)
        try:
            assert len(load_directory(place).segments) == many
        finally:
            sys.setprofile(before)
        return count

    calls(1)  # what is made once is made
    few, many = calls(50), calls(400)
    assert few > 50 * 100
    assert many < 8.2 * few


# --- warming -----------------------------------------------------------------------------------------------------------


def published(files: dict[str, str], tmp_path: Path, before: RuleSet | None = None) -> RuleSet:
    return next_version(before, load_directory(folder(tmp_path / str(before and before.version), **files)))


def test_what_is_new_or_means_something_else_is_warming(tmp_path: Path) -> None:
    first = published({"vip": VIP, "news": NEWS, "gone": NEWS.replace("news", "gone")}, tmp_path)
    changed = VIP.replace("30d", "60d")
    assert changed != VIP
    second = published(
        {"vip": changed, "news": f"# reworded\n{NEWS}", "late": NEWS.replace("news", "late")}, tmp_path, first
    )
    warming = warm(first, second)
    assert warming.warming == {"vip": VIP, "late": None}
    assert (warming.stage, warming.code, second.stage, second.code) == (0, 4, 1, 5)
    assert first.code < warming.code < second.code
    received = RuleSet.from_payload(warming.to_payload())
    assert received == warming
    assert read_header(warming.to_payload()).warming == ("late", "vip")  # type: ignore[union-attr]
    assert [one.name for one in received.active.segments] == ["news", "vip"]
    assert received.active.digests["vip"] == first.digests["vip"]
    assert [one.version for one in received.active.segments] == [1, 1]
    assert (received.active.version, received.active.stage, received.active.code) == (2, 0, 4)
    assert second.active is second


def test_rewording_and_removal_need_no_warming(tmp_path: Path) -> None:
    first = published({"vip": VIP, "news": NEWS}, tmp_path)
    second = warm(first, published({"vip": f"# reworded\n{VIP}"}, tmp_path, first))
    assert second.stage == 1
    assert b"warming" not in second.to_payload(), "an older build reads what an older build could have written"


def test_the_first_rule_set_is_all_new(tmp_path: Path) -> None:
    rules = warm(None, published({"vip": VIP}, tmp_path))
    assert rules.warming == {"vip": None}
    assert rules.active.segments == ()
    assert rules.active.plan.segments == ()


@pytest.mark.parametrize(
    ("warming", "complaint"),
    [({"nobody": None}, "nobody"), ({"vip": "segment: [\n"}, "vip.yaml"), ({"vip": NEWS}, "news")],
)
def test_warming_that_cannot_be_is_refused(tmp_path: Path, warming: dict[str, str | None], complaint: str) -> None:
    made = replace(published({"vip": VIP, "news": NEWS}, tmp_path), warming=warming).to_payload()
    with pytest.raises(RuleErrors, match=complaint):
        RuleSet.from_payload(made)


def test_of_one_version_the_live_one_counts(tmp_path: Path) -> None:
    first = published({"vip": VIP}, tmp_path)
    warming = warm(None, first).to_payload()
    for payloads in ([warming, first.to_payload()], [first.to_payload(), warming]):
        newest, headers = newest_valid(payloads)
        assert newest is not None
        assert newest.stage == 1
        assert [header.stage for header in headers] == [1]
