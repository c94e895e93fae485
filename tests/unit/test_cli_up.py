"""Which cluster `segue status` shows: the one that was started, else that of a demo which runs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cli import up
from cli.paths import DEMO, RUN


@pytest.mark.parametrize(
    ("alive", "shown"),
    [({RUN: True, DEMO: True}, RUN), ({RUN: False, DEMO: True}, DEMO), ({DEMO: True}, DEMO), ({RUN: False}, None)],
)
def test_the_first_that_runs_is_shown(
    alive: dict[Path, bool], shown: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(folder: Path) -> Any:
        return SimpleNamespace(run_dir=folder, any_alive=lambda: alive[folder]) if folder in alive else None

    monkeypatch.setattr(up.LocalCluster, "find", find)
    found = up.running(RUN, DEMO)
    assert (found.run_dir if found is not None else None) == shown


def test_nothing_that_runs_is_said_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(up.LocalCluster, "find", lambda folder: None)
    assert up.status(SimpleNamespace(json=False)) == 1  # type: ignore[arg-type]
    assert capsys.readouterr().out == "No local cluster is up; start one with `segue up`.\n"
