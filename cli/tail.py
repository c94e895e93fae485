"""`segue tail`: who enters and leaves which segment, as it happens; for people, or as JSON lines."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from cli.changes import Change, local_moment, plain, read_change, reason
from cli.errors import UserError
from cli.kafka import rewind
from cli.target import kafka_settings
from rules.duration import parse_duration

REMEMBERED: Final = 100_000
"""How many ids are remembered to tell repeats by: more than an at-least-once job repeats after a restart."""

_POLL_MILLIS: Final = 500


class Repeats:
    """Tells whether an id came before, among the newest so many."""

    def __init__(self, most: int = REMEMBERED) -> None:
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._most = most

    def __call__(self, one: str) -> bool:
        """True if it came before; remembers it."""
        if one in self._seen:
            return True
        self._seen[one] = None
        if len(self._seen) > self._most:
            self._seen.popitem(last=False)
        return False


def wanted(segment: str | None, customer: str | None) -> Callable[[Change], bool]:
    """Whether a change is of this segment and this customer; None is any."""

    def check(change: Change) -> bool:
        return segment in (None, change.segment) and customer in (None, change.customer)

    return check


def line(change: Change) -> Text:
    """A change as one line: when, in or out, who, which segment, why."""
    arrow, colour = ("→ enter", "green") if change.entered else ("← exit ", "red")
    return Text.assemble(
        (local_moment(change.effective_at), "dim"),
        ("  " + arrow, f"bold {colour}"),
        f"  {plain(change.customer, 40):<12}  ",
        (f"{plain(change.segment, 60):<26}", colour),
        "  ",
        (reason(change), "dim"),
    )


def start_time(text: str, now: int) -> int | None:
    """Where to begin: None for the beginning, else epoch ms; `now` for what is new, `10m` for so long ago.

    >>> start_time("beginning", 1000), start_time("now", 1000), start_time("1s", 5000)
    (None, 1000, 4000)
    """
    if text == "beginning":
        return None
    return now if text == "now" else now - parse_duration(text)


def follow(options: dict[str, Any], topic: str, begin: int | None, *, new_only: bool) -> Iterator[Any]:
    """Committed records of the topic, each once it is there; never ends by itself. Raises `UserError` without Kafka or topic."""
    from kafka.errors import KafkaError

    from flink_jobs import topics

    try:
        consumer = topics.reading_consumer(options)
    except (KafkaError, OSError) as error:
        where = ",".join(options["bootstrap_servers"])
        raise UserError(f"no Kafka answers at {where} ({type(error).__name__})", "is it up? `segue status`") from None
    try:
        partitions = topics.partitions_of(consumer, topic)
        if not partitions:
            raise UserError(f"Kafka has no topic {topic!r}", "the job makes it when it is submitted: `segue submit`")
        consumer.assign(partitions)
        if new_only:
            consumer.seek_to_end(*partitions)
        else:
            rewind(consumer, partitions, begin or 0)
        while True:
            found = consumer.poll(timeout_ms=_POLL_MILLIS).values()
            # Partitions come one after the other; people read what happened in the order of time.
            yield from sorted((one for records in found for one in records), key=lambda one: one.timestamp)
    finally:
        consumer.close()


class _Output(Console):
    """A console whose reader may leave: Rich would end the program with exit code 1."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `tail` to the `segue` command."""
    parser = subparsers.add_parser(
        "tail",
        help="follow who enters and leaves which segment",
        description="Follows the segment changes that the job has committed, until interrupted.",
    )
    parser.add_argument("--segment", metavar="S", help="only this segment")
    parser.add_argument("--customer", metavar="C", help="only this customer")
    parser.add_argument(
        "--from", dest="begin", default="now", metavar="beginning|now|10m", help="where to begin; default: now"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line, as it is in Kafka")
    parser.add_argument("--limit", type=int, metavar="N", help="end after N changes")
    parser.add_argument("--settings", type=Path, metavar="FILE", help="settings file; default: the local cluster")
    parser.add_argument("--bootstrap", metavar="HOST:PORT", help="Kafka, instead of the settings'")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Follows until the limit, Ctrl-C, or nobody reads any more; 0 in each case."""
    if args.limit is not None and args.limit < 1:
        raise UserError(f"--limit {args.limit} shows nothing", "give a number from 1 on")
    try:
        begin = start_time(args.begin, int(time.time() * 1000))
    except ValueError as error:
        raise UserError(f"--from {args.begin} {error}", "or `beginning`, or `now`") from None
    settings = kafka_settings(args.settings, args.bootstrap)
    from flink_jobs.topics import client_options

    records = follow(client_options(settings), settings.topics.segment_changes, begin, new_only=args.begin == "now")
    console = _Output(soft_wrap=True, highlight=False)
    try:
        if not args.json and console.is_terminal:
            print(f"following {settings.topics.segment_changes}; Ctrl-C ends it", file=sys.stderr)
        show(records, wanted(args.segment, args.customer), console, as_json=args.json, limit=args.limit)
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:
        # Nobody reads any more. Python would flush once more at its end, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def show(
    records: Iterator[Any], check: Callable[[Change], bool], console: Console, *, as_json: bool, limit: int | None
) -> None:
    """Writes those changes that pass the check, each once, up to the limit."""
    repeated, shown = Repeats(), 0
    for record in records:
        change = read_change(record.value)
        if change is None or not check(change) or repeated(change.id):
            continue
        if as_json:
            # Decoded and written anew, so that it is one line whoever wrote it.
            console.file.write(json.dumps(json.loads(record.value), ensure_ascii=False, separators=(",", ":")) + "\n")
        else:
            console.print(line(change))
        console.file.flush()
        shown += 1
        if shown == limit:
            return
