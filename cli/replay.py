"""`segue replay`: plays a file of rows as events, and accounts for each of its lines."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cli.errors import UserError
from cli.lines import dead_letter, outcomes, read_lines, read_map
from cli.sending import KafkaSender, Sender, bootstrap_servers, require_topics
from profiles.event import EARLIEST_EVENT_TIME
from profiles.fieldmap import Mapped, Outcome, Rejected, Repeated

_LOOK_UP_EVERY: Final = 0.2
"""Seconds between looks at the clock for the progress display, also while waiting for an event's time."""

_SKEW: Final = 300_000
"""How far ahead of this machine's clock a record's timestamp may be, ms; brokers refuse more than an hour."""


@dataclass(slots=True)
class Account:
    """What became of the lines so far. All are counts, but `first_time` and `last_time` (epoch ms).

    `lines` is counted where the file is read, the rest where its lines end up: that both agree is the point of it.
    """

    lines: int = 0
    header: int = 0
    in_events: int = 0
    repeated: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    events: int = 0
    dead_letters: int = 0
    first_time: int | None = None
    last_time: int | None = None
    cut_short: bool = False

    def note(self, outcome: Outcome) -> None:
        """Counts an outcome and its lines."""
        if isinstance(outcome, Mapped):
            self.events += 1
            self.in_events += outcome.lines
        elif isinstance(outcome, Repeated):
            self.repeated += outcome.lines
        else:
            self.rejected[outcome.reason] += outcome.lines

    @property
    def open(self) -> int:
        """Lines that were read and have not ended up anywhere. Once a file is played wholly, anything but 0 is a fault of ours."""
        return self.lines - self.header - self.in_events - self.repeated - self.rejected.total()


def read_counted(path: Path, account: Account, header: int) -> Iterator[bytes]:
    """The file's lines, counted in the account; the first `header` of them are none of the data."""
    for line in read_lines(path):
        account.lines += 1
        account.header = min(account.lines, header)
        yield line


class Pace:
    """When an event of a given time is due, by the clock of the replay.

    Open loop: the moments follow from the first event and the speed alone, so a slow broker makes a replay catch up and never
    stretches it.
    """

    def __init__(
        self,
        speed: float | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._speed = speed
        self._clock = clock
        self._sleep = sleep
        self._begin: tuple[float, int] | None = None

    def wait(self, event_time: int, meanwhile: Callable[[], None]) -> None:
        """Returns when the event is due; calls `meanwhile` now and then until it is."""
        if self._speed is None:
            return
        if self._begin is None:
            self._begin = (self._clock(), event_time)
        due = self._begin[0] + (event_time - self._begin[1]) / 1000 / self._speed
        while (left := due - self._clock()) > 0:
            self._sleep(min(left, _LOOK_UP_EVERY))
            meanwhile()


def play(
    source: Iterator[Outcome],
    sender: Sender | None,
    account: Account,
    pace: Pace,
    *,
    topic: str,
    dead_letters: str | None,
    file: str,
    limit: int | None = None,
    latest: int | None = None,
    progress: Callable[[], None] = lambda: None,
) -> None:
    """Sends the events at their pace, and what was rejected to `dead_letters` (a topic, None for nowhere).

    Without a sender it only counts. `limit` ends it after so many events; a broken sender ends it too. A record's timestamp is
    the event's time. That of a rejected line, and of an event whose time is no time for a record (before 2000, or after `latest`:
    brokers refuse those, with their whole batch), is the newest event time so far: the same in each replay.
    """
    for outcome in source:
        if isinstance(outcome, Mapped):
            stamp = outcome.event_time
            if stamp < EARLIEST_EVENT_TIME or (latest is not None and stamp > latest):
                stamp = account.last_time or 0
            else:
                pace.wait(stamp, progress)
                account.first_time = stamp if account.first_time is None else min(account.first_time, stamp)
                account.last_time = stamp if account.last_time is None else max(account.last_time, stamp)
            account.note(outcome)  # only now: an event that is still waited for when Ctrl-C comes is not played
            if sender is not None:
                sender.send(topic, outcome.key, outcome.value, stamp)
            if limit is not None and account.events >= limit:
                account.cut_short = True
                break
        else:
            account.note(outcome)
            if isinstance(outcome, Rejected) and dead_letters is not None and sender is not None:
                letter = dead_letter(outcome, file, f"{file}:{outcome.line}")
                account.dead_letters += 1
                sender.send(dead_letters, outcome.key, letter, account.last_time or 0)
        progress()
        if sender is not None and sender.broken:
            account.cut_short = True
            break
    if sender is not None:
        sender.finish()


def parse_speed(text: str) -> float | None:
    """`max` is None (as fast as Kafka takes them); `100x` is 100 times as fast as in life.

    >>> parse_speed("max"), parse_speed("100x"), parse_speed("0.5x")
    (None, 100.0, 0.5)
    """
    if text == "max":
        return None
    try:
        speed = float(text.removesuffix("x"))
    except ValueError:
        speed = 0.0
    if not 0 < speed < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is no speed; max, 1x or 100x are")
    return speed


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `replay` to the `segue` command."""
    parser = subparsers.add_parser(
        "replay",
        help="play a CSV or JSON-lines file as events",
        description="Plays a CSV or JSON-lines file (gzipped too) as events: through a field map, or as it is where its lines are "
        "events in SDK form already. Each line is accounted for.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="CSV or JSON lines, plain or gzipped")
    parser.add_argument("--map", type=Path, metavar="MAP.yaml", help="field map; without one, lines are SDK events")
    parser.add_argument("--speed", type=parse_speed, default=None, metavar="max|100x|1x", help="default: max")
    parser.add_argument("--topic", default="events", help="default: events")
    parser.add_argument(
        "--dead-letters", default="dead-letters", metavar="TOPIC", help="for rejected lines; default: dead-letters"
    )
    parser.add_argument("--no-dead-letters", action="store_true", help="count rejected lines, but do not send them")
    parser.add_argument(
        "--bootstrap", metavar="HOST:PORT", help="Kafka; default: the environment's, else the local cluster"
    )
    parser.add_argument("--limit", type=_positive, metavar="N", help="stop after N events")
    parser.add_argument("--dry-run", action="store_true", help="only read and count; needs no Kafka")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of events")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Replays as the arguments say. 0 if each line and each record is accounted for, 1 if not, 130 after Ctrl-C."""
    console = Console(stderr=True)
    field_map = read_map(args.map) if args.map else None
    if not args.file.is_file():
        raise UserError(f"{args.file} does not exist" if not args.file.exists() else f"{args.file} is no file")
    account = Account()
    header = 1 if field_map is not None and field_map.format == "csv" else 0
    source = outcomes(read_counted(args.file, account, header), args.file.name, field_map)
    dead_letters = None if args.no_dead_letters else args.dead_letters
    began = time.monotonic()
    interrupted = False
    with contextlib.ExitStack() as stack:
        sender: KafkaSender | None = None
        if not args.dry_run:
            bootstrap = bootstrap_servers(args.bootstrap)
            require_topics(bootstrap, [args.topic, *([dead_letters] if dead_letters else [])])
            sender = stack.enter_context(KafkaSender(bootstrap))
            began = time.monotonic()
        show = stack.enter_context(progress(console, account, sender))
        if sender is not None:
            sender.meanwhile = show
        try:
            play(
                source,
                sender,
                account,
                Pace(None if args.dry_run else args.speed),
                topic=args.topic,
                dead_letters=dead_letters,
                file=args.file.name,
                limit=args.limit,
                latest=int(time.time() * 1000) + _SKEW,
                progress=show,
            )
        except KeyboardInterrupt:
            account.cut_short = interrupted = True
            if sender is not None:
                sender.finish()
    Console().print(summary(account, sender, time.monotonic() - began, args.file.name))
    faults = wrong(account, sender)
    for fault in faults:
        console.print(f"[bold red]{fault}[/]")
    return 1 if faults else 130 if interrupted else 0


def wrong(account: Account, sender: Sender | None) -> list[str]:
    """What is not accounted for, in words; nothing where all is."""
    faults: list[str] = []
    if account.open and not account.cut_short:
        faults.append(f"{account.open:,} lines are unaccounted for")
    if sender is not None:
        if sender.failed:
            faults.append(f"Kafka refused {sender.failed:,} records, the first with: {sender.failure}")
        if lost := sender.sent - sender.acknowledged - sender.failed:
            why = f": {sender.failure}" if sender.failure and not sender.failed else ""
            faults.append(f"{lost:,} records were never acknowledged{why}")
        # Ctrl-C may come between the count and the sending of a record.
        if abs(account.events + account.dead_letters - sender.sent) > (1 if account.cut_short else 0):
            faults.append("the number of records sent is not that of events and dead letters")
    return faults


def summary(account: Account, sender: Sender | None, seconds: float, file: str) -> Group:
    """The account as two tables: what the lines of the file became, and what Kafka took."""
    lines = Table(title=f"{file}: lines", title_justify="left", show_header=False)
    lines.add_column(justify="left")
    lines.add_column(justify="right")
    lines.add_row("read (without the header)" if account.header else "read", f"{account.lines - account.header:,}")
    lines.add_section()
    lines.add_row(f"in {account.events:,} events", f"{account.in_events:,}")
    if account.repeated:
        lines.add_row("duplicates within an event", f"{account.repeated:,}")
    for reason, count in account.rejected.most_common():
        lines.add_row(f"rejected: {reason}", f"{count:,}")
    if account.open:
        lines.add_row("read ahead, not played" if account.cut_short else "UNACCOUNTED", f"{account.open:,}")
    records = Table(title="records", title_justify="left", show_header=False)
    records.add_column(justify="left")
    records.add_column(justify="right")
    records.add_row("events sent" if sender is not None else "events (dry run, not sent)", f"{account.events:,}")
    if sender is not None:
        records.add_row("rejected lines sent to dead letters", f"{account.dead_letters:,}")
        records.add_row("acknowledged by Kafka", f"{sender.acknowledged:,}")
        if sender.failed:
            records.add_row("refused by Kafka", f"{sender.failed:,}")
    if account.first_time is not None and account.last_time is not None:
        records.add_row("event times", f"{_day(account.first_time)} to {_day(account.last_time)} UTC")
    records.add_row("took", f"{seconds:.1f} s, {account.events / max(seconds, 0.001):,.0f} events/s")
    return Group(lines, records)


def _day(event_time: int) -> str:
    return datetime.fromtimestamp(event_time / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


@contextlib.contextmanager
def progress(console: Console, account: Account, sender: Sender | None) -> Iterator[Callable[[], None]]:
    """A line that says how far the replay is; yields what to call after each outcome (it looks at the clock now and then).

    Where the console is no terminal, a line every ten seconds.
    """
    began = shown = time.monotonic()

    def line() -> str:
        seconds = time.monotonic() - began
        at = f", event time {_day(account.last_time)}" if account.last_time is not None else ""
        under_way = f", under way {sender.sent - sender.acknowledged - sender.failed:,}" if sender is not None else ""
        return (
            f"{account.lines:,} lines, {account.events:,} events ({account.events / max(seconds, 0.001):,.0f}/s)"
            f"{at}, rejected {account.rejected.total():,}{under_way}"
        )

    with contextlib.ExitStack() as stack:
        live: Live | None = None
        if console.is_terminal:
            live = stack.enter_context(Live(Text(line()), console=console, transient=True, auto_refresh=False))
        period = _LOOK_UP_EVERY if live is not None else 10.0

        def show() -> None:
            nonlocal shown
            now = time.monotonic()
            if now - shown < period:
                return
            shown = now
            if live is not None:
                live.update(Text(line()), refresh=True)
            else:
                console.print(line())

        yield show
