"""`segue rules` as far as it goes without Kafka: what is printed, and the exit code."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cli.main import main

GOOD = """segment: vip
name: VIPs
when: {event: Order, within: 30d}
tests:
  - given: [{at: 0m, event: Order}]
    expect: [{at: 0m, entered: true}, {at: 29d23h59m59.999s, in: true}, {at: 30d, exited: true}]
"""
BAD = "segment: bad\nwhen: {event: A, withn: 7d}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "rules"
    path.mkdir()
    (path / "vip.yaml").write_text(GOOD)
    return path


def test_check_of_good_rules(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "check", "--no-cost", str(folder)]) == 0
    assert capsys.readouterr().out == "1 segment checked, 0 warnings\n"


def test_check_names_the_place_and_the_nearest_key(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bad.yaml").write_text(BAD)
    assert main(["rules", "check", str(folder)]) == 1
    assert capsys.readouterr().out == (
        "rules/bad.yaml:2:18: unknown key 'withn'\n    did you mean 'within'?\n1 error in 1 file\n"
    )


def test_check_of_one_file(folder: Path) -> None:
    (folder / "bad.yaml").write_text(BAD)
    assert main(["rules", "check", str(folder / "vip.yaml")]) == 0


def test_check_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bad.yaml").write_text(BAD)
    assert main(["rules", "check", "--json", str(folder)]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["valid"] is False
    assert found["errors"][0] == {
        "file": "rules/bad.yaml",
        "line": 2,
        "column": 18,
        "message": "unknown key 'withn'",
        "hint": "did you mean 'within'?",
    }


def test_warnings_do_not_fail(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "ever.yaml").write_text("segment: ever\nwhen: {event: A}\n")
    assert main(["rules", "check", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "\nrules/ever.yaml:2:1: warning: nobody ever leaves" in out
    assert out.endswith("2 segments checked, 1 warning\n")


def test_tests_that_pass(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "test", str(folder)]) == 0
    first, last = capsys.readouterr().out.splitlines()
    assert first == "✓ vip  1 test"
    assert re.fullmatch(r"1 passed, 0 failed in \d+\.\d\d s", last)


def test_tests_that_fail(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "vip.yaml").write_text(GOOD.replace("within: 30d", "within: 29d"))
    assert main(["rules", "test", str(folder)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "✗ vip  1 test"
    assert lines[1].startswith("rules/vip.yaml:5:5: 'test 1': the customer exited at 29d (by timer), which no line")
    assert lines[-1].startswith("0 passed, 1 failed in ")


def test_segments_without_tests_are_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bare.yaml").write_text("segment: bare\nwhen: {event: A, within: 1d}\n")
    assert main(["rules", "test", str(folder)]) == 0
    assert "- bare  no tests" in capsys.readouterr().out


def test_tests_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "test", "--json", str(folder)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["passed"], found["failed"], found["tests"][0]["segment"]) == (1, 0, "vip")


def test_list_of_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "list", "--json", str(folder)]) == 0
    (segment,) = json.loads(capsys.readouterr().out)["segments"]
    assert (segment["segment"], segment["name"], segment["tests"]) == ("vip", "VIPs", 1)


def test_apply_refuses_before_it_looks_for_kafka(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "vip.yaml").write_text(GOOD.replace("within: 30d", "within: 29d"))
    assert main(["rules", "apply", str(folder), "--bootstrap", "127.0.0.1:1"]) == 1
    assert "nothing was published" in capsys.readouterr().err
    assert main(["rules", "apply", str(folder / "vip.yaml")]) == 2
    assert "a rule set is published whole" in capsys.readouterr().err


def test_a_kafka_that_does_not_answer_is_said_in_a_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "diff", str(folder), "--bootstrap", "127.0.0.1:1"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("segue: no Kafka answers at 127.0.0.1:1")
    assert len(err.splitlines()) == 2


def test_one_file_is_tested_with_those_of_its_folder_that_have_a_say(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "calm.yaml").write_text(
        "segment: calm\nwhen: {not: {segment: vip}}\ntests:\n"
        "  - given: [{at: 0m, event: View}, {at: 1m, event: Order}]\n"
        "    expect: [{at: 0m, entered: true}, {at: 1m, exited: true}]\n"
    )
    assert main(["rules", "test", str(folder / "calm.yaml")]) == 0
    assert "vip" not in capsys.readouterr().out
