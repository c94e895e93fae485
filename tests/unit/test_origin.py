"""Which version a folder of rules descends from, and pulling a newer one into it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.errors import UserError
from cli.origin import NOTE, Merge, Seen, carry_out, merge, read_note, unseen, write_note
from rules.rule_set import RuleSet, load_directory, next_version

VIP = "segment: vip\nwhen: {event: Order, within: 30d}\n"
NEWS = "segment: news\nwhen: {event: Email Opened, within: 7d}\n"


def rules(folder: Path, version: int, **files: str) -> RuleSet:
    """A version with these files, which also stand in the folder."""
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.yaml"):
        old.unlink()
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return next_version(RuleSet(version - 1, ()), load_directory(folder))


def test_a_folder_may_follow_what_was_applied_from_it(tmp_path: Path) -> None:
    first = rules(tmp_path, 1, vip=VIP)
    write_note(tmp_path, first)
    second = rules(tmp_path, 2, vip=VIP.replace("30d", "60d"))
    assert not unseen(tmp_path, second, first)
    assert unseen(tmp_path, second, rules(tmp_path / "theirs", 2, vip=VIP, news=NEWS))


def test_a_rollback_is_something_new_though_its_files_are_old(tmp_path: Path) -> None:
    first = rules(tmp_path, 1, vip=VIP)
    write_note(tmp_path, first)
    local = rules(tmp_path, 2, vip=VIP.replace("30d", "60d"))
    write_note(tmp_path, local)
    back = rules(tmp_path / "back", 3, vip=VIP)
    assert unseen(tmp_path, local, back)
    assert not unseen(tmp_path, back, back)


def test_a_folder_without_a_note_may_add_and_no_more(tmp_path: Path) -> None:
    live = rules(tmp_path / "live", 4, vip=VIP)
    mine = tmp_path / "mine"
    assert not unseen(mine, rules(mine, 1, vip=VIP, news=NEWS), live)
    assert unseen(mine, rules(mine, 1, news=NEWS), live)
    assert unseen(mine, rules(mine, 1, vip=VIP.replace("30d", "60d")), live)
    assert not unseen(mine, rules(mine, 1, news=NEWS), None)


def test_each_of_two_clusters_has_its_own_newest_version(tmp_path: Path) -> None:
    staging, production = rules(tmp_path, 41, vip=VIP), rules(tmp_path, 12, vip=VIP)
    write_note(tmp_path, production)
    write_note(tmp_path, staging)
    local = rules(tmp_path, 1, vip=VIP, news=NEWS)
    assert not unseen(tmp_path, local, production)
    assert not unseen(tmp_path, local, staging)


def test_the_newest_version_is_noted_last_and_once(tmp_path: Path) -> None:
    first, second = rules(tmp_path, 1, vip=VIP), rules(tmp_path, 2, vip=VIP)
    for one in (first, second, first):
        write_note(tmp_path, one)
    assert read_note(tmp_path) == [Seen.of(second), Seen.of(first)]


def test_a_note_that_cannot_be_read_names_the_line(tmp_path: Path) -> None:
    (tmp_path / NOTE).write_text("# fine\n1 00ff\n<<<<<<< HEAD\n")
    with pytest.raises(UserError, match=r"\.segue-version:3:1: '<<<<<<< HEAD' is no version") as refused:
        read_note(tmp_path)
    assert "both sides" in refused.value.hint


def test_a_note_does_not_stand_among_the_rules(tmp_path: Path) -> None:
    first = rules(tmp_path, 1, vip=VIP)
    write_note(tmp_path, first)
    assert load_directory(tmp_path).sources == first.sources


TEXTS = st.dictionaries(st.sampled_from("abcd"), st.sampled_from("123"))


@given(base=TEXTS, local=TEXTS, live=TEXTS)
def test_a_merge_loses_nothing_that_one_side_alone_has_changed(
    base: dict[str, str], local: dict[str, str], live: dict[str, str]
) -> None:
    found = merge(base, local, live)
    merged = {name: text for name, text in {**local, **found.write}.items() if name not in found.delete}
    for name in base.keys() | local.keys() | live.keys():
        was, ours, theirs = base.get(name), local.get(name), live.get(name)
        if ours == was:
            assert merged.get(name) == theirs
        elif theirs in (was, ours):
            assert merged.get(name) == ours
        else:
            assert name in found.conflicts
    assert all(local.get(name) not in (base.get(name), live.get(name)) for name in found.conflicts)


@pytest.mark.parametrize("name", ["../out.yaml", "/out.yaml", "a/../../out.yaml", ".git/out.yaml", "a\\..\\out.yaml"])
def test_nothing_is_written_outside_of_the_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "rules"
    folder.mkdir()
    with pytest.raises(UserError, match="leads out of"):
        carry_out(folder, Merge({"good.yaml": "x", name: "x"}, [], []))
    assert [one.name for one in tmp_path.rglob("*")] == ["rules"]


def test_a_link_does_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    folder, outside = tmp_path / "rules", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (folder / "inner").symlink_to(outside)
    with pytest.raises(UserError, match="leads out of"):
        carry_out(folder, Merge({"inner/out.yaml": "x"}, [], []))
    assert list(outside.iterdir()) == []
