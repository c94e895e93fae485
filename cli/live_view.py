"""The demo's live view: a board that takes in what is observed, and its pictures for a terminal, a log and the end."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from rich import box
from rich.console import Group, RenderableType
from rich.layout import Layout
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cli.changes import Change, local_time, plain, reason
from cli.live_models import COUNTED, Standings, models_table, scored_words

MINUTE: Final = 60_000
OUTCOMES: Final = ("applied", "duplicate", "late", "quarantined", "dead_lettered")
_BAR: Final = 14
_SHORT_BAR: Final = 5
_BESIDE: Final = 110
"""Columns from which on segments that are too many for one table stand in two beside each other."""

_DELAYS: Final = 500


@dataclass(slots=True)
class Segment:
    """One segment's numbers: who is in it, how many came and went, and when of late (epoch ms)."""

    size: int = 0
    entered: int = 0
    exited: int = 0
    enters: deque[int] = field(default_factory=deque)
    exits: deque[int] = field(default_factory=deque)

    def forget(self, before: int) -> None:
        """Drop the moments that no longer count for the rates."""
        for moments in (self.enters, self.exits):
            while moments and moments[0] < before:
                moments.popleft()


@dataclass(slots=True)
class Vitals:
    """What was last observed of the job and its topics; None: not known (yet). Times in epoch ms, rates a second."""

    state: str = ""
    web_page: str = ""
    totals: Mapping[str, int] = field(default_factory=dict)
    events_in: int | None = None
    input_rate: float | None = None
    lag: int | None = None
    checkpoint_at: int | None = None
    checkpoint_millis: int | None = None
    checkpoint_bytes: int | None = None
    trouble: str = ""


class Board:
    """All that the view shows.

    `live_from` (epoch ms): what took effect before is history, and counts for no rate. `settled_from`: when the job had made up
    for what came before it ran (None: not yet); what took effect before counts for no delay.
    """

    def __init__(self, segments: Iterable[str], live_from: int, models: Iterable[str] = ()) -> None:
        self.segments: dict[str, Segment] = {name: Segment() for name in sorted(segments)}
        self.standings = Standings(models)
        self.live_from = live_from
        self.settled_from: int | None = None
        self.latest: deque[Change] = deque(maxlen=100)
        self.vitals = Vitals()
        self.transitions = 0
        self.live_transitions = 0
        self._seen: set[str] = set()
        self._delays: deque[int] = deque(maxlen=_DELAYS)

    def add(self, change: Change) -> None:
        """Take in a transition; a repeat (same id) changes nothing."""
        if change.id in self._seen:
            return
        self._seen.add(change.id)
        self.transitions += 1
        segment = self.segments.setdefault(change.segment, Segment())
        if change.entered:
            segment.size += 1
            segment.entered += 1
        else:
            segment.size -= 1
            segment.exited += 1
        self.latest.appendleft(change)
        if change.effective_at < self.live_from:
            return
        self.live_transitions += 1
        (segment.enters if change.entered else segment.exits).append(change.effective_at)
        if change.by_event and self.settled_from is not None and change.effective_at >= self.settled_from:
            # What time alone brings about waits on purpose until no event can come any more that would undo it.
            self._delays.append(change.emitted_at - change.effective_at)

    def forget(self, now: int) -> None:
        """Let the last minute move on."""
        for segment in self.segments.values():
            segment.forget(now - MINUTE)

    def settle(self, now: int) -> None:
        """Note the first moment at which the job has no more before it than two seconds bring."""
        lag, rate = self.vitals.lag, self.vitals.input_rate
        if self.settled_from is None and lag is not None and rate is not None and lag <= 2 * rate:
            self.settled_from = now

    def delay(self, share: float) -> int | None:
        """From an event to its transition, in ms, in this share of cases (0.5: the median); None before the first."""
        if not self._delays:
            return None
        ordered = sorted(self._delays)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]

    def unaccounted(self) -> int:
        """Records received less those of each outcome: anything but 0 is a fault."""
        totals = self.vitals.totals
        return totals.get("received", 0) - sum(totals.get(name, 0) for name in OUTCOMES)


def picture(
    board: Board, now: int, running: float, height: int, until: float | None = None, width: int = 120
) -> RenderableType:
    """The whole view for a terminal of so many lines and columns; `running` is for how many seconds the job has run, of `until`."""
    board.forget(now)
    models = len(board.standings.models) + 4 if board.standings.models else 0
    left = height - 12 - models
    tables = 2 if len(board.segments) + 4 > left and width >= _BESIDE else 1
    rows = -(-len(board.segments) // tables) + 4
    if models and left < min(rows, 10):
        # Too low for both: segments come first.
        models, left = 0, height - 12
    rows = min(rows, max(6, left))
    below = max(4, height - rows - models - 8)
    parts = [
        Layout(_header(board, running, until), name="header", size=3),
        Layout(_vital_signs(board, now), name="vitals", size=3),
        Layout(_segments(board, tables), name="segments", size=rows),
        Layout(_latest(board, below - 2), name="latest", minimum_size=4),
        Layout(_accounts(board), name="accounts", size=2),
    ]
    if models:
        parts.insert(3, Layout(models_table(board.standings, _scoring(board)), name="models", size=models))
    layout = Layout()
    layout.split_column(*parts)
    return layout


def _scoring(board: Board) -> str:
    """How scoring goes, by the job's counters: what has never happened is left out."""
    totals = board.vitals.totals
    said = [f"{totals[name]:,} {words}" for name, words in COUNTED.items() if totals.get(name)]
    scored = scored_words(totals, board.standings.models)
    return " " + ", ".join(["models", *said]) + (f"; {scored}" if scored else "")


def _header(board: Board, running: float, until: float | None) -> Panel:
    state = board.vitals.state or "starting"
    grid = Table.grid(expand=True)
    grid.add_column()
    grid.add_column(justify="center")
    grid.add_column(justify="right")
    clock = _clock(running) + (f" of {_clock(until)}" if until is not None else "")
    colour = "green" if state == "RUNNING" else "yellow"
    grid.add_row(
        Text.assemble(("segue ", "bold cyan"), ("customers entering and leaving segments, live", "dim")),
        Text.assemble((f"● {state.lower()}", colour), f"  {clock}"),
        Text.assemble(("Flink ", "dim"), (board.vitals.web_page, "cyan")),
    )
    return Panel(grid, box=box.ROUNDED, border_style="cyan")


def _vital_signs(board: Board, now: int) -> RenderableType:
    vitals = board.vitals
    half, most = board.delay(0.5), board.delay(0.99)
    table = Table(box=None, expand=True, padding=(0, 1), header_style="dim")
    titles = {"events in": 21, "lag": 14, "event → transition": 24, "transitions": 27, "checkpoint": 26}
    for title, ratio in titles.items():
        table.add_column(title, ratio=ratio, no_wrap=True, overflow="ellipsis")
    checkpoint = Text("none yet", "yellow")
    if vitals.checkpoint_at is not None:
        age = max(0, now - vitals.checkpoint_at) / 1000
        checkpoint = Text(f"{age:.1f} s ago", "bold" if age < 10 else "bold yellow")
        checkpoint.append(f"  {vitals.checkpoint_millis} ms, {_size(vitals.checkpoint_bytes)}", "dim")
    lag = vitals.lag
    table.add_row(
        Text.assemble((_number(vitals.input_rate, "/s"), "bold"), (f"  {_number(vitals.events_in)} in all", "dim")),
        Text(_number(lag, " records"), "bold" if not lag or lag < 1000 else "bold yellow"),
        Text.assemble((_number(half, " ms"), "bold"), (f"  p99 {_number(most, ' ms')}", "dim")),
        Text.assemble((f"{board.live_transitions:,} live", "bold"), (f"  {board.transitions:,} in all", "dim")),
        checkpoint,
    )
    if not vitals.trouble:
        return table
    return Group(table, Text(f" {plain(vitals.trouble, 300)}", "bold red", overflow="ellipsis", no_wrap=True))


def _segments(board: Board, tables: int) -> RenderableType:
    """All segments, in so many tables beside each other; where there are several they have fewer columns."""
    names = list(board.segments)
    rows = -(-len(names) // tables) or 1
    largest = max((one.size for one in board.segments.values()), default=0)
    parts = [
        _some_segments(board, names[at : at + rows], largest, tables > 1) for at in range(0, len(names) or 1, rows)
    ]
    if len(parts) == 1:
        return parts[0]
    grid = Table.grid(expand=True)
    for _ in parts:
        grid.add_column(ratio=1)
    grid.add_row(*parts)
    return grid


def _some_segments(board: Board, names: list[str], largest: int, short: bool) -> Table:
    length = _SHORT_BAR if short else _BAR
    padding = (0, 1, 0, 0) if short else (0, 1)
    table = Table(box=box.SIMPLE_HEAD, expand=True, padding=padding, header_style="bold")
    table.add_column("segment", ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column("size", justify="right", width=6 if short else 7)
    table.add_column("", width=length)
    table.add_column("in/min" if short else "enter/min", justify="right", width=6 if short else 9)
    table.add_column("out/min" if short else "exit/min", justify="right", width=7 if short else 9)
    if not short:
        table.add_column("entered", justify="right", width=8, style="dim")
        table.add_column("exited", justify="right", width=8, style="dim")
    for name in names:
        one = board.segments[name]
        enters, exits = len(one.enters), len(one.exits)
        cells: list[RenderableType] = [
            Text(plain(name, 60), "bold" if enters or exits else ""),
            f"{one.size:,}",
            bar(one.size, largest, length),
            Text(f"+{enters}" if enters else "·", "bold green" if enters else "dim"),
            Text(f"−{exits}" if exits else "·", "bold red" if exits else "dim"),
        ]
        table.add_row(*cells, *([] if short else [f"{one.entered:,}", f"{one.exited:,}"]))
    return table


def bar(size: int, largest: int, length: int = _BAR) -> Text:
    """A bar of at most so many characters, in eighths of a character; whoever is not empty has a trace of one.

    >>> bar(1, 2).plain, bar(1, 10_000).plain, bar(0, 2).plain
    ('███████', '▏', '')
    """
    if size <= 0 or largest <= 0:
        return Text("")
    eighths = max(1, round(size * length * 8 / largest))
    return Text("█" * (eighths // 8) + ("", *"▏▎▍▌▋▊▉")[eighths % 8], "cyan")


def _latest(board: Board, rows: int) -> Panel:
    table = Table(box=None, expand=True, padding=(0, 1), show_header=False)
    table.add_column(width=8, style="dim")
    table.add_column(width=7)
    table.add_column(width=9, no_wrap=True, overflow="ellipsis")
    table.add_column(width=26, no_wrap=True, overflow="ellipsis")
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis", style="dim")
    for change in list(board.latest)[: max(1, rows)]:
        arrow, colour = ("→ enter", "green") if change.entered else ("← exit", "red")
        table.add_row(
            local_time(change.effective_at),
            Text(arrow, f"bold {colour}"),
            plain(change.customer, 40),
            Text(plain(change.segment, 60), colour),
            reason(change),
        )
    inside: RenderableType = table if board.latest else Text(" none is committed yet", "dim")
    return Panel(inside, title="latest transitions", title_align="left", box=box.ROUNDED, border_style="dim")


def _accounts(board: Board) -> Group:
    totals = board.vitals.totals
    text = Text.assemble((" received ", "dim"), (f"{totals.get('received', 0):,}", "bold"), (" = ", "dim"))
    for index, name in enumerate(OUTCOMES):
        text.append(" + " if index else "", "dim")
        text.append(f"{totals.get(name, 0):,}", "bold" if totals.get(name) else "dim")
        text.append(f" {name.replace('_', '-')}", "dim")
    if off := board.unaccounted():
        text.append(f"   {off:+,} unaccounted", "bold red")
    return Group(
        text,
        Text(" elsewhere: ./segue rules list, ./segue explain CUSTOMER, ./segue tail; Ctrl-C ends all of it", "dim"),
    )


def progress_line(board: Board, running: float) -> str:
    """The view in one line, for where there is no terminal."""
    vitals, half = board.vitals, board.delay(0.5)
    return (
        f"{running:5.0f} s  {vitals.state.lower() or 'starting'}  {_number(vitals.events_in)} events in"
        f" ({_number(vitals.input_rate, '/s')})  lag {_number(vitals.lag)}"
        f"  {board.transitions:,} transitions ({board.live_transitions:,} live)"
        f"  event to transition {_number(half, ' ms')}" + (f"  {plain(vitals.trouble)}" if vitals.trouble else "")
    )


def summary(board: Board, running: float) -> RenderableType:
    """What was seen, at the end."""
    table = Table(box=box.SIMPLE_HEAD, title=f"after {_clock(running)}", title_justify="left", title_style="bold")
    table.add_column("segment")
    for title in ("size", "entered", "exited"):
        table.add_column(title, justify="right")
    for name, one in board.segments.items():
        table.add_row(plain(name, 60), f"{one.size:,}", f"{one.entered:,}", f"{one.exited:,}")
    totals = board.vitals.totals
    outcomes = ", ".join(f"{totals.get(name, 0):,} {name.replace('_', '-')}" for name in OUTCOMES)
    lines = [
        f"transitions  {board.transitions:,}, of these {board.live_transitions:,} while it ran live",
        f"records      {totals.get('received', 0):,} = {outcomes}",
    ]
    if (half := board.delay(0.5)) is not None:
        lines.append(f"delay        {half:,} ms from an event to its transition (median), p99 {board.delay(0.99):,} ms")
    if off := board.unaccounted():
        lines.append(f"unaccounted  {off:+,}")
    for name in board.standings.models:
        if words := scored_words(totals, [name]):
            lines.append(f"scores       {plain(name, 60)}: {words}")
    models = [models_table(board.standings, _scoring(board), whole=True)] if board.standings.models else []
    return Group(table, *models, *(Text(f" {one}") for one in lines))


def _number(value: float | None, unit: str = "") -> str:
    return "–" if value is None else f"{value:,.0f}{unit}"


def _size(octets: int | None) -> str:
    size = float(octets or 0)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}"
