"""`segue demo`: everything at once. A broker, a cluster, the job, a simulated shop, and who enters and leaves, live.

All that it starts dies with it: by an end in order, by Ctrl-C at any moment, even by `kill -9`.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import fcntl
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.live import Live

from cli import toolchain
from cli.cluster import LocalCluster
from cli.demo_traffic import HISTORY_DAYS, read_status, shop
from cli.demo_training import train
from cli.demo_watch import Watch
from cli.errors import UserError
from cli.flink_rest import FlinkRest
from cli.live_view import Board, picture, progress_line, summary
from cli.model_files import load_models
from cli.model_topics import publish_versions
from cli.model_view import wide
from cli.paths import CATALOG, DEMO, MODELS, ROOT, shown
from cli.processes import Process, wait_until
from cli.progress import step
from cli.published import apply_rules
from cli.submit import newest_savepoint, submit, wait_running
from cli.target import Target, local_cluster
from flink_jobs.settings import ENVIRONMENT_PREFIX, Settings, load_settings
from flink_jobs.topics import ensure_topics
from online_models.definition import Model, in_zone
from rules.duration import parse_duration
from rules.rule_set import load_directory

DIRECTORY: Final = DEMO
DISORDER: Final = 2_000
"""How late events may come, ms. The shop keeps to it, and so much later absences are noticed."""

GRACE: Final = 3.0
HISTORY_TIMEOUT: Final = 300.0
_FRAMES_A_SECOND: Final = 4
_LINE_EVERY: Final = 5.0


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `demo` to the `segue` command."""
    parser = subparsers.add_parser(
        "demo",
        help="everything at once: broker, cluster, job and a simulated shop, live in the terminal",
        description="Starts a Kafka broker and a Flink cluster on this machine, submits the job with the rules of rules/catalog,"
        " plays a simulated shop, and shows who enters and leaves which segment. Ctrl-C ends all of it.",
    )
    parser.add_argument(
        "--for", dest="seconds", type=_duration, metavar="60s", help="end after so long; default: at Ctrl-C"
    )
    parser.add_argument("--rate", type=_positive_number, default=50.0, metavar="N", help="events a second; default: 50")
    parser.add_argument("--customers", type=int, default=1000, metavar="N", help="of the shop; default: 1000")
    parser.add_argument(
        "--seed", type=int, metavar="N", help="the same seed, the same shop; default: another each time"
    )
    parser.add_argument("--keep", action="store_true", help="go on with what the last demo left; default: begin afresh")
    parser.add_argument(
        "--dir", type=Path, default=DIRECTORY, metavar="DIR", help=f"where its data are; default: {shown(DIRECTORY)}"
    )
    parser.set_defaults(run=run)


def _duration(text: str) -> float:
    try:
        return parse_duration(text) / 1000
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} {error}") from None


def _positive_number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= 100_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no rate; 50 is")
    return number


def run(args: argparse.Namespace) -> int:
    """0 if transitions were seen, 1 if none were, 130 if it was interrupted before any could be."""
    if args.customers < 20:
        raise UserError(f"--customers {args.customers} is too few", "a shop needs at least 20")
    # Settings for another cluster that lie in the environment must not lead the demo's job there.
    for name in [name for name in os.environ if name.startswith(ENVIRONMENT_PREFIX) and "__" in name]:
        del os.environ[name]
    demo = Demo(args)
    with _interrupted_by(signal.SIGTERM, signal.SIGHUP), _only_one(args.dir):
        try:
            with demo.started():
                demo.watch()
        except KeyboardInterrupt:
            demo.interrupted = True
    return demo.report()


class Demo:
    """One run of the demo: `started()` has it running, `watch()` shows it, `report()` says what was seen."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.directory: Path = args.dir.resolve()
        self.seconds: float | None = args.seconds
        self.rate: float = args.rate
        self.customers: int = args.customers
        self.seed: int = secrets.randbelow(1_000_000) if args.seed is None else args.seed
        self.keep: bool = args.keep
        self.begun = time.monotonic()
        self.interrupted = False
        self.running = 0.0
        self.board: Board | None = None
        self.traffic: Process | None = None
        self.flink: FlinkRest | None = None
        self.job = ""
        self.settings = Settings()
        self.resumed = False

    @property
    def status_file(self) -> Path:
        """Where the traffic says how far it is."""
        return self.directory / "traffic.json"

    @contextlib.contextmanager
    def started(self) -> Iterator[None]:
        """Broker, cluster, topics, rules, history, job: up inside, and nothing of it left afterwards."""
        toolchain.ensure()
        cluster = LocalCluster(
            self.directory,
            # So that the accounts in the view are no older than a second.
            flink_settings={"metrics.fetcher.update-interval": "1000", "web.cancel.enable": "false"},
        )
        self._clear(cluster)
        try:
            with step("starting the Kafka broker and the Flink cluster"):
                cluster.start()
            self._start_job(cluster)
            yield
        finally:
            # A second Ctrl-C would only leave something behind: the end takes no longer than the grace.
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            with step("ending everything"):
                if self.traffic is not None:
                    self.traffic.kill()
                cluster.stop(GRACE)

    def _clear(self, cluster: LocalCluster) -> None:
        """End what an earlier demo that was killed might have left, then its data unless they are to be kept."""
        left = LocalCluster.find(self.directory)
        if left is not None and left.any_alive():
            left.stop(GRACE)
        if not self.keep:
            cluster.erase()
        self.status_file.unlink(missing_ok=True)

    def _start_job(self, cluster: LocalCluster) -> None:
        local = local_cluster(self.directory)
        assert local is not None, "the cluster writes its state when it is up"
        variables = {
            "SEGUE_KAFKA__BOOTSTRAP_SERVERS": local.bootstrap_servers,
            "SEGUE_FLINK__REST": local.rest,
            "SEGUE_FLINK__PYTHON": sys.executable,
            "SEGUE_CHECKPOINTS__DIRECTORY": Path(local.data_dir).as_uri(),
            # Output is seen when a checkpoint commits it.
            "SEGUE_CHECKPOINTS__INTERVAL": "1s",
            "SEGUE_JOB__CLOCK": "live",
            "SEGUE_JOB__DISORDER": f"{DISORDER}ms",
            # The clock must not run ahead of the history because a busy machine takes its time to read the first of it.
            "SEGUE_JOB__IDLE_AFTER": "1m",
        }
        self.settings = settings = load_settings(None, variables)
        with step("making the topics and publishing the rules"):
            ensure_topics(settings)
            segments, models = publish_catalog(settings)
        resume = self._resume()
        self.resumed = bool(resume)
        start = self._start_traffic(self.resumed, models)
        self.board = Board(segments, start, [one.name for one in models])
        self.flink = FlinkRest(local.rest)
        to = Target(settings, local, variables)
        self.job = submit(to, self.flink, from_savepoint=resume, log=self.directory / "submit.log")
        wait_running(self.flink, self.job)

    def _resume(self) -> str:
        """With --keep: where the last demo's job left off; empty if there is nothing."""
        if not self.keep:
            return ""
        try:
            return str(newest_savepoint(self.settings))
        except UserError:
            return ""

    def _start_traffic(self, resumed: bool, models: Sequence[Model]) -> int:
        """Start the shop, train models on the older part of its history, and wait until all of it is in Kafka; the moment at which its
        live part begins (epoch ms).

        The job begins after the history: were it to run before, its live clock would find all of the history out of order.
        """
        start = int(time.time() * 1000)
        words = [sys.executable, "-m", "cli.demo_traffic", "--bootstrap", self.settings.kafka.bootstrap_servers]
        words += ["--topic", self.settings.topics.events, "--status", str(self.status_file), "--start", str(start)]
        # A shop that goes on has its history in Kafka already; with another seed its new events are no repeats.
        seed = secrets.randbelow(1_000_000) if resumed else self.seed
        words += ["--seed", str(seed), "--customers", str(self.customers), "--rate", str(self.rate)]
        words += ["--disorder", str(DISORDER), *(["--no-history"] if resumed else [])]
        with step(
            "starting the shop"
            if resumed
            else f"playing {HISTORY_DAYS:.0f} days of a shop with {self.customers:,} customers, and training models on them"
        ):
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
            traffic = Process.start("the shop", words, log=self.directory / "traffic.log", env=environment, cwd=ROOT)
            self.traffic = traffic
            # Beside the cluster's own state, for whoever wants to see that nothing is left.
            (self.directory / "demo.json").write_text(json.dumps({"traffic": traffic.state()}), "utf-8")
            if not resumed:
                past = shop(seed, self.customers, start, self.rate, DISORDER)
                publish_versions(self.settings, train(models, past, start, DISORDER))
            wait_until(self._live, HISTORY_TIMEOUT, "the shop's history is in Kafka", process=traffic)
        return start

    def _live(self) -> bool:
        status = read_status(self.status_file)
        if status is not None and status.failure:
            raise UserError(f"the shop cannot send its events: {status.failure}", shown(self.directory / "traffic.log"))
        return status is not None and status.live

    def watch(self) -> None:
        """Show the job until the time is up or somebody interrupts."""
        assert self.board is not None and self.flink is not None
        console = Console()
        watch = Watch(self.settings, self.flink, self.job)
        began = time.monotonic()
        print(
            f"segue: running after {began - self.begun:.1f}s; Flink's web page: {self.flink.url}",
            file=sys.stderr,
            flush=True,
        )
        try:
            with _screen(console, self.board) as draw:
                while True:
                    self.running = time.monotonic() - began
                    self._take_in(watch)
                    draw(self.running, self.seconds)
                    if self.seconds is not None and self.running >= self.seconds:
                        break
                    time.sleep(1 / _FRAMES_A_SECOND)
        finally:
            self.running = time.monotonic() - began
            watch.close()
            self._take_in(watch)

    def _take_in(self, watch: Watch) -> None:
        assert self.board is not None
        for change in watch.changes():
            self.board.add(change)
        for word in watch.words():
            self.board.standings.hear(word)
        self.board.vitals = dataclasses.replace(watch.vitals)
        self.board.settle(int(time.time() * 1000))
        if self.traffic is not None and not self.traffic.alive():
            self.board.vitals.trouble = f"the shop has ended: see {shown(self.directory / 'traffic.log')}"

    def report(self) -> int:
        """The summary, and the exit code."""
        board = self.board
        if board is None or not self.running:
            print("segue: interrupted before the job ran; nothing is left running", file=sys.stderr)
            return 130
        wide().print(summary(board, self.running))
        # What an earlier demo left is no proof that this one did anything.
        if board.live_transitions if self.resumed else board.transitions:
            return 0
        state = board.vitals.state.lower() or "unknown"
        why = (
            board.vitals.trouble
            or f"the job is {state}, {board.vitals.totals.get('received', 0):,} records were received"
        )
        print(f"segue: no transition was seen: {why}", file=sys.stderr)
        return 130 if self.interrupted else 1


def publish_catalog(settings: Settings) -> tuple[list[str], list[Model]]:
    """Publish the rule and model files of the project as one rule set; the names of its segments, and its models."""
    found = load_models(MODELS)
    rules = dataclasses.replace(load_directory(CATALOG), models=found.texts)
    applied = apply_rules(settings, rules, author="segue demo")
    zone = applied.rules.project.zone
    return [segment.name for segment in applied.rules.segments], [in_zone(model, zone) for model in found.models]


@contextlib.contextmanager
def _screen(console: Console, board: Board) -> Iterator[Callable[[float, float | None], None]]:
    """Yields what draws the board: the whole screen on a terminal, else a line every few seconds."""
    if not console.is_terminal:
        shown_at = float("-inf")

        def print_line(running: float, until: float | None) -> None:
            nonlocal shown_at
            if running - shown_at >= _LINE_EVERY:
                shown_at = running
                print(progress_line(board, running), flush=True)

        yield print_line
        return
    with Live(console=console, screen=True, auto_refresh=False) as live:

        def draw(running: float, until: float | None) -> None:
            now = int(time.time() * 1000)
            live.update(picture(board, now, running, console.size.height, until, console.size.width), refresh=True)

        yield draw


@contextlib.contextmanager
def _interrupted_by(*signals: signal.Signals) -> Iterator[None]:
    """Inside, these signals interrupt as Ctrl-C does: whoever is asked to end should end what it started."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    handled = (signal.SIGINT, *signals)
    # A shell starts what it puts in the background with SIGINT ignored; then Python would ignore it too.
    before = {number: signal.signal(number, interrupt) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _only_one(directory: Path) -> Iterator[None]:
    """Hold the demo's folder; `UserError` if another demo has it."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError("a demo runs already", "end it first, or give this one another folder with --dir") from None
        yield
