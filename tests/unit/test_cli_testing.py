"""`segue rules test` for people at work and for CI: a choice of tests, a report, running again at each change."""

from __future__ import annotations

import argparse
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from cli import testing
from cli.main import main

GOOD = """segment: vip
when: {event: Order, within: 30d}
tests:
  - name: enters & <leaves>
    given: [{at: 0m, event: Order}]
    expect: [{at: 0m, entered: true}, {at: 30d, exited: true}]
  - name: stays out
    given: [{at: 0m, event: Visit}]
    expect: [{at: 0m, in: false}]
"""
BARE = "segment: bare\nwhen: {event: A, within: 1d}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "rules"
    path.mkdir()
    (path / "vip.yaml").write_text(GOOD)
    (path / "bare.yaml").write_text(BARE)
    return path


def test_a_choice_by_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "test", str(folder), "-k", "STAYS"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "✓ vip  1 test"
    assert lines[1].startswith("1 passed, 0 failed in ")
    assert main(["rules", "test", str(folder), "-k", "nothing"]) == 2
    assert "has 'nothing' in its name" in capsys.readouterr().err


def test_a_report_for_ci(folder: Path, tmp_path: Path) -> None:
    (folder / "vip.yaml").write_text(GOOD.replace("within: 30d", "within: 29d"))
    report = tmp_path / "report.xml"
    assert main(["rules", "test", str(folder), "--junit", str(report)]) == 1
    root = ET.parse(report).getroot()
    assert (root.get("tests"), root.get("failures")) == ("2", "1")
    (suite,) = root
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == ("vip", "2", "1")
    bad, good = suite
    assert bad.get("name") == "enters & <leaves>" and len(good) == 0
    assert "rules/vip.yaml:4:5" in (bad[0].text or "")
    assert "exited at 29d" in (bad[0].get("message") or "") + (bad[0].text or "")


def test_a_report_that_cannot_be_written_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "test", str(folder), "--junit", str(folder / "no" / "report.xml")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_characters_that_xml_cannot_hold_are_replaced() -> None:
    assert testing._legal("a\x00b\ud800\tc\U0001f600") == "a\ufffdb\ufffd\tc\U0001f600"


def test_watching_runs_again_at_a_change_and_survives_a_broken_file(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saves = iter((None, "segment: vip\nwhen: {event: A, withn: 1d}\n", GOOD))

    def pause() -> None:
        """Somebody saves a file, or nothing happens; in the end Ctrl-C."""
        try:
            text = next(saves)
        except StopIteration:
            raise KeyboardInterrupt from None
        if text is not None:
            (folder / "vip.yaml").write_text(text)

    args = argparse.Namespace(path=folder, only="", junit=None, json=False, watch=True)
    assert testing.watch(args, pause) == 0
    out = capsys.readouterr().out
    assert out.count("watching; Ctrl-C ends") == 3
    assert out.count("2 passed, 0 failed") == 2
    assert out.count("unknown key 'withn'") == 1


def test_watching_is_not_for_programs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "test", str(folder), "--watch", "--json"]) == 2
    assert "--watch is for people" in capsys.readouterr().err
