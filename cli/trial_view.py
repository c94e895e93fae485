"""A trial of rules for people at a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.changes import plain
from rules.explain import threshold_words, value_words

_BARS: Final = " ▁▂▃▄▅▆▇█"
_WIDTH: Final = 60
_OVERLAPS: Final = 8


def render(told: dict[str, Any]) -> RenderableType:
    """The report of `cli.trial.report` as tables and small charts."""
    parts: list[RenderableType] = [Text(heading(told), "dim"), _table(told)]
    by_name = {one["segment"]: one for one in told["segments"]}
    for name in told["focus"]:
        parts += _details(by_name[name], told)
    if told["removed"]:
        parts.append(Text(f"\nnot among the rules that were tried: {', '.join(told['removed'])}"))
    parts += [Text(f"warning: {warning}", "yellow") for warning in told["warnings"]]
    refused = told["history"]["refused"]
    parts += [Text(f"refused, {count:,} records: {plain(reason)}", "yellow") for reason, count in refused.items()]
    parts.append(Text(notes(told), "dim"))
    return Group(*parts)


def heading(told: dict[str, Any]) -> str:
    """What was read, in a line."""
    history = told["history"]
    sample = f", a sample of {history['sample']:.3g} of the customers" if history["sample"] < 1 else ""
    span = f"{day(history['from'])} to {day(history['until'])}" if history["from"] else "nothing"
    compared = f"; compared with {told['compared_with']}" if told["compared_with"] else ""
    return f"{history['source']}: {history['events']:,} events of {told['customers']:,} customers, {span}{sample}{compared}"


def notes(told: dict[str, Any]) -> str:
    """What a reader must know of the figures."""
    extra = {name: count for name, count in told["history"]["outcomes"].items() if name != "applied" and count}
    counted = (
        f" Events that changed nothing: {', '.join(f'{count:,} {name}' for name, count in extra.items())}."
        if extra
        else ""
    )
    return f"Days are in UTC. Members are those at the end of the history. Customer ids are shown as they are.{counted}"


def day(moment: str | None) -> str:
    """The date of a moment."""
    return moment[:10] if moment else "-"


def grouped(values: Sequence[int], width: int) -> tuple[list[int], int]:
    """As many sums of neighbours as fit into `width`, and of how many days each is.

    >>> grouped([1, 2, 3, 4, 5], 3)
    ([3, 7, 5], 2)
    """
    each = max(1, -(-len(values) // width))
    return [sum(values[at : at + each]) for at in range(0, len(values), each)], each


def bars(values: Sequence[int], most: int) -> str:
    """One character for each value; what is not nothing can be seen.

    >>> bars([0, 1, 50, 100], 100)
    ' ▁▄█'
    """
    steps = len(_BARS) - 1
    return "".join(_BARS[max(1, value * steps // most)] if value and most else _BARS[0] for value in values)


def _table(told: dict[str, Any]) -> Table:
    compared = bool(told["compared_with"])
    table = Table(box=None, pad_edge=False)
    titles = ("segment", "members", "share", "entered", "exited", "entered, day by day")
    for title in (*titles, *(("in", "out") if compared else ())):
        table.add_column(title, justify="left" if title in (titles[0], titles[-1]) else "right", no_wrap=True)
    for one in told["segments"]:
        values, _ = grouped([at["entered"] for at in one["days"]], 30)
        row: list[RenderableType] = [
            Text(one["segment"], "bold" if one["segment"] in told["focus"] else ""),
            f"{one['members']:,}",
            f"{one['share']:.1%}",
            f"{one['entered']:,}",
            f"{one['exited']:,}",
            Text(bars(values, max(values, default=0)), "cyan"),
        ]
        if compared:
            row += [
                _signed(one["difference"]["entering"], "+", "green"),
                _signed(one["difference"]["leaving"], "-", "red"),
            ]
        table.add_row(*row)
    return table


def _signed(number: int, sign: str, colour: str) -> Text:
    return Text(f"{sign}{number:,}", colour) if number else Text("0", "dim")


def _details(one: dict[str, Any], told: dict[str, Any]) -> Iterator[RenderableType]:
    yield Text.assemble(
        "\n", (one["segment"], "bold"), f"  {plain(one['name'])}", ("  new" if one["new"] else "", "green")
    )
    yield from _chart(one)
    if one["overlap"]:
        shown = [f"{other['segment']} {other['both']:,} ({other['share']:.0%})" for other in one["overlap"][:_OVERLAPS]]
        more = f" and {len(one['overlap']) - _OVERLAPS} more" if len(one["overlap"]) > _OVERLAPS else ""
        yield Text(f"  members also in: {', '.join(shown)}{more}")
    yield from _examples("examples", one["examples"])
    difference = one["difference"]
    if difference:
        yield Text(
            f"  against {told['compared_with']}: {difference['entering']:,} would enter, {difference['leaving']:,} would leave"
        )
        yield from _examples("would enter", difference["entering_examples"])
        yield from _examples("would leave", difference["leaving_examples"])


def _chart(one: dict[str, Any]) -> Iterator[RenderableType]:
    entered, each = grouped([at["entered"] for at in one["days"]], _WIDTH)
    exited, _ = grouped([at["exited"] for at in one["days"]], _WIDTH)
    most = max(*entered, *exited, 0) if entered else 0
    if not most:
        yield Text("  nobody entered or exited", "dim")
        return
    unit = "day" if each == 1 else f"{each} days"
    yield Text.assemble("  entered ", (bars(entered, most), "green"), f"  {one['entered']:,}")
    yield Text.assemble("  exited  ", (bars(exited, most), "red"), f"  {one['exited']:,}")
    first, last = one["days"][0]["day"], one["days"][-1]["day"]
    gap = " " * max(1, len(entered) - len(first) - len(last))
    yield Text(f"          {first}{gap}{last}  (highest: {most:,} in {unit})", "dim")


def _examples(title: str, examples: list[dict[str, Any]]) -> Iterator[RenderableType]:
    if not examples:
        return
    yield Text(f"  {title}:", "dim")
    for one in examples:
        since = f"  in since {one['since'].replace('T', ' ').removesuffix('Z')}" if one["since"] else ""
        yield Text.assemble("    ", (plain(one["customer"], 60), "cyan"), (since, "dim"))
        for line in evidence_lines(one):
            yield Text(f"      {plain(line, 200)}")


def evidence_lines(example: dict[str, Any]) -> list[str]:
    """The evidence of an example, a line for each condition."""
    return [
        f"{'✓' if one['holds'] else '✗'} {one['condition']}: {value_words(one['actual'])}"
        f" (asked for: {threshold_words(one['threshold'])})"
        for one in example["evidence"]
    ]
