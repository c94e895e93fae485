"""`./segue` itself, in a copy of the project that needs no packages: what it makes, when it makes it anew, and what it passes on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cli.paths import ROOT

# Prints what it was started with, and ends with the code that it is told.
STUB = "import os, sys; print(sys.argv[1:], os.getcwd()); sys.exit(int(os.environ.get('CODE', '0')))"


def start(copy: Path, *words: str, command: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """Start the copy as on a machine where nothing is set up for this user."""
    home = copy.parent / "home"
    path = f"{Path(sys.base_prefix) / 'bin'}:/usr/bin:/bin"
    return subprocess.run(
        [str(command or copy / "segue"), *words],
        env={"HOME": str(home), "PATH": path, **variables},
        cwd=copy.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy whose environment was made by a first start."""
    folder = tmp_path_factory.mktemp("start") / "a copy"
    (folder / "cli").mkdir(parents=True)
    (folder / "cli" / "__init__.py").touch()
    (folder / "cli" / "__main__.py").write_text(STUB)
    (folder / "requirements.txt").write_text("# nothing\n")
    (folder / "requirements-tune.txt").write_text("# nothing, for searches\n")
    (folder / "requirements-dev.txt").write_text("# nothing, for tests\n")
    shutil.copy(ROOT / "segue", folder / "segue")
    first = start(folder, "status")
    assert first.returncode == 0, first.stderr
    assert "installing requirements.txt" in first.stderr
    return folder


def test_a_second_start_installs_nothing(copy: Path) -> None:
    again = start(copy, "status", "--json")
    assert again.stderr == ""
    assert again.stdout.startswith("['status', '--json']")


def test_it_passes_on_words_folder_and_exit_code(copy: Path) -> None:
    done = start(copy, "rules", "a b", "", CODE="7")
    assert done.returncode == 7
    assert done.stdout == f"['rules', 'a b', ''] {copy.parent}\n"


def test_it_works_through_a_link(copy: Path) -> None:
    link = copy.parent / "link"
    link.symlink_to(copy / "segue")
    assert start(copy, "status", command=link).stdout.startswith("['status']")
    assert not (copy.parent / ".venv").exists()


def test_a_package_of_the_same_name_where_one_stands_is_not_run(copy: Path) -> None:
    """Called from another copy of the project, it ran that one's code with its own packages."""
    decoy = copy.parent / "cli"
    decoy.mkdir()
    try:
        (decoy / "__init__.py").touch()
        (decoy / "__main__.py").write_text("print('the wrong one')")
        assert start(copy, "status").stdout.startswith("['status']")
    finally:
        shutil.rmtree(decoy)


def test_an_install_that_was_cut_short_is_taken_up_again(copy: Path) -> None:
    (copy / ".venv" / ".segue-lock-run").unlink()
    assert "installing requirements.txt" in start(copy, "status").stderr
    assert start(copy, "status").stderr == ""


def test_a_changed_lock_is_installed(copy: Path) -> None:
    (copy / "requirements.txt").write_text("# nothing yet\n")
    assert "installing requirements.txt" in start(copy, "status").stderr
    assert start(copy, "status").stderr == ""


def test_searches_and_tests_have_locks_of_their_own_that_contain_the_others(copy: Path) -> None:
    assert "installing requirements-tune.txt" in start(copy, "models", "tune").stderr
    assert start(copy, "models", "tune").stderr == ""
    assert start(copy, "models", "list").stderr == ""
    assert "installing requirements-dev.txt" in start(copy, "test").stderr
    for words in (("test",), ("models", "tune"), ("status",)):
        assert start(copy, *words).stderr == ""


def test_starts_side_by_side_install_once(copy: Path) -> None:
    for stamp in (copy / ".venv").glob(".segue-lock-*"):
        stamp.unlink()
    several = [
        subprocess.Popen(
            [str(copy / "segue"), "status"],
            env={"HOME": str(copy.parent), "PATH": os.environ["PATH"]},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    ended = [one.communicate(timeout=120) for one in several]
    assert [one.returncode for one in several] == [0, 0, 0, 0]
    assert sum("installing requirements.txt into" in err for _, err in ended) == 1
    assert all(out.startswith("['status']") for out, _ in ended)


def test_a_package_without_its_hash_is_refused(copy: Path) -> None:
    lock = copy / "requirements.txt"
    before = lock.read_text()
    lock.write_text("rich==15.0.0\n")
    try:
        done = start(copy, "status")
        assert done.returncode == 2
        assert "requirements.txt could not be installed" in done.stderr
        assert not (copy / ".venv" / ".segue-lock-run").exists()
    finally:
        lock.write_text(before)
    assert start(copy, "status").returncode == 0


def test_without_a_python_it_says_how_to_get_one(copy: Path, tmp_path: Path) -> None:
    """Run where only the tools of the script itself are on the path, by somebody who may not install anything."""
    bare = tmp_path / "bare"
    (bare / "bin").mkdir(parents=True)
    for tool in ("bash", "env", "readlink", "dirname", "sha256sum", "mkdir", "rm", "cut", "ls", "flock", "getent"):
        found = shutil.which(tool)
        assert found is not None
        (bare / "bin" / tool).symlink_to(found)
    # Places outside of the path where Python may be found on this machine are emptied by looking nowhere.
    script = (copy / "segue").read_text()
    body = script.index("candidates() {")
    end = script.index("\n}\n", body)
    (bare / "bin" / "id").write_text("#!/bin/sh\necho 1000\n")
    (bare / "bin" / "id").chmod(0o755)
    (bare / "segue").write_text(script[:body] + "candidates() {\n    :" + script[end:])
    (bare / "segue").chmod(0o755)
    (bare / "requirements.txt").touch()
    done = subprocess.run(
        [str(bare / "segue"), "status"], env={"PATH": str(bare / "bin")}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "Python 3.11 or 3.12 is needed and none was found: install one" in done.stderr
