"""The roles of the image that are neither Flink's own nor the `segue` command's: topics, submit, shop.

Run by docker/entrypoint.sh. Settings come from the file that SEGUE_SETTINGS names, with SEGUE_PART__KEY variables on top.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cli.errors import UserError
from cli.flink_rest import FlinkRest
from cli.submit import local_path, newest_savepoint, wait_running
from cli.submit import submit as hand_over
from cli.target import target
from flink_jobs.settings import Settings, SettingsError, load_settings

PATIENCE = 120.0
"""Seconds to wait for the cluster, as containers start in any order."""

TELL_EVERY = 10.0
GOOD, FAILED, REFUSED = 0, 1, 2


def topics(settings: Settings) -> int:
    """Create the topics that are missing; those that differ from what is expected are named and left as they are."""
    from flink_jobs.topics import ensure_topics, expected_topics

    for difference in ensure_topics(settings):
        print(f"warning: {difference}", file=sys.stderr)
    print("topics: " + ", ".join(topic.name for topic in expected_topics(settings)))
    return GOOD


def wait_for_cluster(flink: FlinkRest, patience: float, sleep: Callable[[float], None] = time.sleep) -> None:
    """Wait until Flink answers; UserError after `patience` seconds."""
    deadline = time.monotonic() + patience
    while not flink.reachable():
        if time.monotonic() >= deadline:
            raise UserError(f"no Flink cluster answers at {flink.url}", "is the jobmanager container healthy?")
        sleep(1.0)


def starting_point(settings: Settings, from_savepoint: str) -> str:
    """The snapshot to start from, empty for none. `from_savepoint`: a path, `newest` (if there is any), or `none`.

    Where it cannot be seen whether there is a snapshot (s3:, hdfs:), `newest` is refused: beginning anew by mistake
    would lose what the job knows.
    """
    if from_savepoint != "newest":
        return "" if from_savepoint == "none" else from_savepoint
    folder = local_path(settings.checkpoints.directory)
    if folder is not None and not any(folder.glob("**/_metadata")):
        return ""
    return str(newest_savepoint(settings))


def submit(file: Path | None, from_savepoint: str) -> int:
    """Submit the job and wait until it runs; nothing if one of its name is there, as after a second `up`."""
    to = target(file)
    flink = FlinkRest(to.settings.flink.rest)
    wait_for_cluster(flink, PATIENCE)
    for running in flink.live_jobs(to.settings.job.name):
        print(f"job {running.id} is there already ({running.state}); nothing to submit")
        return GOOD
    start = starting_point(to.settings, from_savepoint)
    print(f"from {start or 'the beginning: there is no snapshot'}", flush=True)
    job = hand_over(to, flink, settings_file=file, from_savepoint=start)
    wait_running(flink, job)
    print(f"job {job} runs")
    return GOOD


def shop(settings: Settings, arguments: argparse.Namespace) -> int:
    """Play the simulated shop: its history as fast as may be, then live, until stopped or for `--seconds`."""
    from cli.demo_traffic import Status, play
    from cli.sending import KafkaSender
    from flink_jobs.topics import client_options
    from shop import simulate

    options: dict[str, Any] = client_options(settings)
    options.pop("bootstrap_servers")
    start = time.time_ns() // 1_000_000
    deliveries = simulate(
        arguments.seed,
        arguments.customers,
        start,
        days=arguments.days,
        rate=arguments.rate,
        until=start + arguments.seconds * 1000 if arguments.seconds else None,
        past=arguments.days > 0,
    )
    told = 0.0

    def tell(status: Status, *, now: bool = False) -> None:
        nonlocal told
        if now or time.monotonic() - told >= TELL_EVERY:
            told = time.monotonic()
            print(f"shop: {status.sent:,} records sent, {status.history:,} of them history", flush=True)

    with KafkaSender(settings.kafka.bootstrap_servers, **options) as sender:
        play(deliveries, sender, settings.topics.events, start, tell)
    print(f"shop: {sender.acknowledged:,} of {sender.sent:,} records acknowledged", flush=True)
    return GOOD if sender.acknowledged == sender.sent else FAILED


def parser() -> argparse.ArgumentParser:
    """The command line: one subcommand a role."""
    top = argparse.ArgumentParser(prog="entrypoint.sh", description="Roles of the container image.")
    roles = top.add_subparsers(dest="role", required=True)
    roles.add_parser("topics", help="create the topics that are missing")
    one = roles.add_parser("submit", help="submit the job unless it runs")
    one.add_argument("--from-savepoint", default="newest", help="a path, `newest` (the default) or `none`")
    one = roles.add_parser("shop", help="play the simulated shop")
    one.add_argument("--seed", type=int, default=1)
    one.add_argument("--customers", type=int, default=500)
    one.add_argument("--rate", type=float, default=50.0, help="events a second")
    one.add_argument("--days", type=float, default=8.0, help="of history before the live part")
    one.add_argument("--seconds", type=int, default=0, help="of live traffic; 0: until stopped")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one role; the exit code: 0 good, 1 not wholly, 2 misconfigured."""
    arguments = parser().parse_args(argv)
    # `docker stop` ends a role as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    named = os.environ.get("SEGUE_SETTINGS")
    file = Path(named) if named else None
    try:
        settings = load_settings(file, os.environ)
        match arguments.role:
            case "topics":
                return topics(settings)
            case "submit":
                return submit(file, arguments.from_savepoint)
            case _:
                return shop(settings, arguments)
    except KeyboardInterrupt:
        return GOOD
    except (SettingsError, UserError) as error:
        hint = getattr(error, "hint", "")
        print(f"error: {error}" + (f"\n       {hint}" if hint else ""), file=sys.stderr)
        return REFUSED


if __name__ == "__main__":
    sys.exit(main())
