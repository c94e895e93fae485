"""Jars are fetched once, again when what they are made from changes, and never taken for whole when they are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli import toolchain
from cli.errors import UserError
from cli.toolchain import Jars, hash_of


@pytest.fixture
def jars(tmp_path: Path) -> Jars:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "A.java").write_text("class A {}")
    (tmp_path / "pom.xml").write_text("<project/>")
    return Jars("the thing", tmp_path / "jars", (tmp_path / "pom.xml", tmp_path / "src"))


def put(jars: Jars, tmp_path: Path) -> None:
    new = tmp_path / "new"
    new.mkdir()
    (new / "thing.jar").write_bytes(b"PK")
    toolchain.place(new, jars)


def test_jars_are_ready_only_when_placed_whole(jars: Jars, tmp_path: Path) -> None:
    assert not jars.ready()
    jars.folder.mkdir()
    (jars.folder / "thing.jar").write_bytes(b"half of")
    assert not jars.ready()  # a fetch that was cut short
    put(jars, tmp_path)
    assert jars.ready()
    assert (jars.folder / "thing.jar").read_bytes() == b"PK"


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "src" / "A.java").write_text("class A { }"),
        lambda root: (root / "src" / "B.java").write_text(""),
        lambda root: (root / "src" / "A.java").rename(root / "src" / "C.java"),
        lambda root: (root / "src" / "A.java").unlink(),
        lambda root: (root / "pom.xml").unlink(),
    ],
)
def test_any_change_of_the_sources_makes_them_stale(jars: Jars, tmp_path: Path, change: object) -> None:
    put(jars, tmp_path)
    change(tmp_path)  # type: ignore[operator]
    assert not jars.ready()


def test_the_hash_does_not_depend_on_where_the_copy_lies(tmp_path: Path) -> None:
    for copy in ("one", "two"):
        (tmp_path / copy / "src").mkdir(parents=True)
        (tmp_path / copy / "src" / "A.java").write_text("class A {}")
    assert hash_of([tmp_path / "one" / "src"]) == hash_of([tmp_path / "two" / "src"])


def test_bytes_that_move_from_one_file_to_the_next_change_the_hash(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"xy")
    (tmp_path / "b").write_bytes(b"z")
    before = hash_of([tmp_path / "a", tmp_path / "b"])
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "b").write_bytes(b"yz")
    assert hash_of([tmp_path / "a", tmp_path / "b"]) != before


def fake_java(folder: Path, version: str) -> Path:
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "java").write_text("#!/bin/sh\nexit 1\n")
    (folder / "bin" / "java").chmod(0o755)
    (folder / "release").write_text(f'IMPLEMENTOR="x"\nJAVA_VERSION="{version}"\n')
    return folder / "bin" / "java"


@pytest.mark.parametrize(("version", "major"), [("17.0.15", 17), ("21", 21), ("1.8.0_392", 1), ("11.0.2", 11)])
def test_the_version_of_java_is_read_without_starting_it(tmp_path: Path, version: str, major: int) -> None:
    assert toolchain.java_version(fake_java(tmp_path / "jdk", version)) == major


def test_java_of_java_home_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = fake_java(tmp_path / "jdk", "21.0.1")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    assert toolchain.find_java() == (named, 21)


def test_one_that_is_too_old_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = fake_java(tmp_path / "old", "11.0.2"), fake_java(tmp_path / "new", "17.0.1")
    monkeypatch.setenv("JAVA_HOME", str(old.parent.parent))
    monkeypatch.setenv("PATH", str(new.parent))
    assert toolchain.find_java() == (new, 17)


def test_what_cannot_be_installed_is_asked_for_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(UserError, match=r"^Maven is needed$") as caught:
        toolchain.install("maven", why="Maven")
    assert "apt-get install maven" in caught.value.hint


def test_a_failed_build_shows_what_failed_and_where_the_rest_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "mvn"
    program.write_text("#!/bin/sh\necho '[INFO] much'\necho '[ERROR] A.java:[3,4] no such thing'\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(toolchain, "maven_program", lambda: program)
    monkeypatch.setattr(toolchain, "java_environment", dict)
    with pytest.raises(UserError, match=r"building it failed$") as caught:
        toolchain.maven("building it", tmp_path / "pom.xml", [], tmp_path / "it.log", quiet=True)
    assert "A.java:[3,4] no such thing" in caught.value.hint
    assert "much" not in caught.value.hint
    assert str(tmp_path / "it.log") in caught.value.hint
