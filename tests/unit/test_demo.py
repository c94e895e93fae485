"""The demo's own decisions: exit codes, arguments, and that there is one at a time."""

from __future__ import annotations

import argparse
import shutil
import signal
from itertools import takewhile
from pathlib import Path

import pytest

from cli import demo
from cli.changes import Change
from cli.demo import DISORDER, Demo
from cli.demo_traffic import HISTORY_DAYS, shop
from cli.demo_training import UNSEEN_DAYS, Part, train
from cli.errors import UserError
from cli.history import DAY, Account
from cli.live_view import Board, Vitals
from cli.model_files import load_models
from cli.model_topics import GAP
from cli.paths import MODELS
from flink_jobs.settings import Settings
from tests.fixtures.rules_topic import RulesTopic

LIVE = 1_800_000_000_000


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    demo.add_parser(parser.add_subparsers(dest="command"))
    return parser.parse_args(["demo", *words])


def ran(transitions: int, seconds: float = 60.0) -> Demo:
    one = Demo(arguments())
    one.board, one.running = Board(["vip"], LIVE), seconds
    one.board.vitals = Vitals("RUNNING", totals={"received": 40, "applied": 40})
    for number in range(transitions):
        one.board.add(Change(str(number), "c", "vip", True, LIVE, LIVE, {}, ()))
    return one


def test_it_succeeds_only_if_transitions_were_seen(capsys: pytest.CaptureFixture[str]) -> None:
    assert ran(1).report() == 0
    assert "transitions  1" in capsys.readouterr().out
    assert ran(0).report() == 1
    assert "no transition was seen: the job is running, 40 records were received" in capsys.readouterr().err


def test_transitions_that_an_earlier_demo_left_are_no_success() -> None:
    resumed = ran(0)
    resumed.resumed = True
    assert resumed.board is not None
    resumed.board.add(Change("old", "c", "vip", True, LIVE - 1, LIVE, {}, ()))
    assert resumed.report() == 1
    resumed.board.add(Change("new", "c", "vip", False, LIVE, LIVE, {}, ()))
    assert resumed.report() == 0


def test_an_interrupt_is_an_end_like_any_other_once_something_was_seen() -> None:
    seen, unseen, early = ran(1), ran(0), Demo(arguments())
    seen.interrupted = unseen.interrupted = early.interrupted = True
    assert (seen.report(), unseen.report(), early.report()) == (0, 130, 130)


def test_what_the_arguments_say() -> None:
    args = arguments("--for", "1m30s", "--rate", "0.5", "--seed", "3", "--keep")
    assert (args.seconds, args.rate, args.seed, args.keep) == (90.0, 0.5, 3, True)
    assert arguments().seconds is None
    for wrong in (("--for", "soon"), ("--rate", "0"), ("--rate", "fast")):
        with pytest.raises(SystemExit):
            arguments(*wrong)
    with pytest.raises(UserError, match="--customers 3 is too few"):
        demo.run(arguments("--customers", "3"))


def test_there_is_one_at_a_time_in_a_folder(tmp_path: Path) -> None:
    with demo._only_one(tmp_path):
        with pytest.raises(UserError, match="a demo runs already"), demo._only_one(tmp_path):
            pytest.fail("two at once")
        with demo._only_one(tmp_path / "another"):
            pass
    with demo._only_one(tmp_path):
        pass


def test_a_request_to_end_interrupts_and_the_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), demo._interrupted_by(signal.SIGTERM):
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_publishing_its_rules_leaves_the_catalogue_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A demo's cluster is gone with it: no file under version control may say that the rules descend from its versions."""
    folder = tmp_path / "catalog"
    shutil.copytree(demo.CATALOG, folder, ignore=shutil.ignore_patterns(".*"))
    before = {file: file.read_bytes() for file in folder.rglob("*")}
    monkeypatch.setattr(demo, "CATALOG", folder)
    topic = RulesTopic(monkeypatch)
    names, models = demo.publish_catalog(Settings())
    assert [one.name for one in models] == sorted(file.stem for file in demo.MODELS.glob("*.yaml"))
    assert sorted(names) == sorted(file.stem for file in before)
    assert topic.newest.sources == {file.name: text.decode() for file, text in before.items()}
    assert {file: file.read_bytes() for file in folder.rglob("*")} == before


def test_models_are_trained_on_the_older_part_of_the_very_history_that_the_job_reads() -> None:
    since, until = LIVE - int(HISTORY_DAYS * DAY), LIVE - int(UNSEEN_DAYS * DAY)
    part = [event for event, _ in Part(shop(1, 20, LIVE, 50.0, DISORDER), since, until, DISORDER).events(Account())]
    assert since <= min(one.event_time for one in part)
    assert until - DAY < max(one.received_at for one in part) < until
    sent = [(one.at, one.key) for one in takewhile(lambda one: one.at < LIVE, shop(1, 20, LIVE, 50.0, DISORDER))]
    assert {(one.received_at, one.customer.encode()) for one in part} <= set(sent)


def test_the_demo_begins_with_versions_of_the_models_whose_outcomes_are_known_by_then() -> None:
    versions = train(load_models(MODELS).models, shop(1, 120, LIVE, 50.0, DISORDER), LIVE, DISORDER)
    assert {one.model for one in versions} == {"purchase"}
    for one in versions:
        assert one.version > GAP and one.lineage.origin == "history"
        assert one.lineage.last <= LIVE - int(UNSEEN_DAYS * DAY)
