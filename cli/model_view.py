"""Models as they are shown in a terminal: figures beside each other and over time, and what a candidate lives on."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.changes import plain
from cli.model_run import FIGURES
from cli.trial_view import day
from rules.duration import format_duration

TITLES: Final = {
    "roc_auc": "AUC",
    "log_loss": "log loss",
    "brier": "Brier",
    "calibration_error": "calib. error",
    "lift": "lift 10%",
    "mae": "MAE",
    "rmse": "RMSE",
    "bias": "bias",
    "silhouette": "silhouette",
    "davies_bouldin": "Davies-Bouldin",
    "clusters": "clusters",
}
"""Figures as they are called in a table."""

CHARTED: Final = {"classification": "roc_auc", "regression": "mae", "clustering": "silhouette"}
"""By task, the figure that is shown over time."""

COSTS: Final = {
    "demographic_parity_difference": "parity difference",
    "precision": "precision",
    "true_positive_rate": "found",
    "accuracy": "accuracy",
    "log_loss": "log loss",
}
"""What thresholds for groups change, in words."""

_BARS: Final = " ▁▂▃▄▅▆▇█"
_FEATURES: Final = 10
_WIDE: Final = 120
_GONE: Final = 5
_ORIGINS: Final = {"stream": "of the job before", "history": "trained over history", "rollback": "rollback"}
_SAYS: Final = 200
"""Examples below which a figure jumps about."""


def table(*titles: str, left: int = 1) -> Table:
    """A plain table; the first columns are texts, those after them numbers."""
    made = Table(box=None, pad_edge=False)
    for at, title in enumerate(titles):
        made.add_column(title, justify="left" if at < left else "right", overflow="fold")
    return made


def number(value: Any) -> str:
    """A figure as it is shown.

    >>> number(0.73219), number(1234.5), number(None), number(7)
    ('0.732', '1,234.5', '-', '7')
    """
    if not isinstance(value, float | int) or isinstance(value, bool):
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.3f}"


def share(value: Any) -> str:
    """A share as it is shown.

    >>> share(0.981), share(None)
    ('98%', '-')
    """
    return f"{value:.0%}" if isinstance(value, float | int) else "-"


def candidates_table(
    task: str, candidates: Mapping[str, Mapping[str, Any]], champion: str, others: Mapping[str, Mapping[str, Any]]
) -> Table:
    """A line a candidate with its figures, the champion first; below them `others` to compare with."""
    keys = FIGURES[task]
    made = table("candidate", "version", "examples", *(TITLES[key] for key in keys), "coverage")
    for name in sorted(candidates, key=lambda one: (one != champion, one)):
        found = candidates[name]
        title = Text(plain(name), "bold") + Text(" champion" if name == champion else "", "green")
        cells = [number(found.get(key)) for key in keys]
        counts = [number(found.get(key)) for key in ("version", "examples")]
        made.add_row(title, *counts, *cells, share(found.get("coverage")))
    for name, found in others.items():
        if found:
            cells = [number(found.get(key)) for key in keys]
            made.add_row(Text(name, "dim"), number(found.get("version")), number(found.get("examples")), *cells, "")
    return made


def chart(task: str, over_time: Sequence[Mapping[str, Any]], names: Iterable[str]) -> Iterator[RenderableType]:
    """The figure of each candidate from the first report to the last: a bar each, the lowest and the highest beside them."""
    key = CHARTED.get(task)
    if key is None or len(over_time) < 2:
        return
    names = list(names)
    values = {name: [_settled(one["candidates"].get(name, {}), key) for one in over_time] for name in names}
    known = [one for each in values.values() for one in each if one is not None]
    if not known:
        return
    low, high = min(known), max(known)
    yield Text(f"  {TITLES[key]} over time, {number(float(low))} to {number(float(high))}", "dim")
    width = max(map(len, names))
    for name in names:
        last = next((one for one in reversed(values[name]) if one is not None), None)
        yield Text.assemble(
            f"  {plain(name):{width}}  ", (levels(values[name], low, high), "cyan"), f"  {number(last)}"
        )
    first, last_day = day(over_time[0]["at"]), day(over_time[-1]["at"])
    gap = " " * max(1, len(over_time) - len(first) - len(last_day))
    yield Text(f"  {'':{width}}  {first}{gap}{last_day}", "dim")


def _settled(figures: Mapping[str, Any], key: str) -> float | None:
    """A figure, once enough examples have been learnt for it to say something."""
    return figures.get(key) if (figures.get("examples") or 0) >= _SAYS else None


def levels(values: Iterable[float | None], low: float, high: float) -> str:
    """One character for each value between the lowest and the highest; a blank where there is none.

    >>> levels([0.5, None, 0.75, 1.0], 0.5, 1.0)
    '▁ ▄█'
    """
    steps = len(_BARS) - 2
    spread = (high - low) or 1.0
    return "".join(" " if one is None else _BARS[1 + int((one - low) / spread * steps)] for one in values)


def contest_lines(contests: Iterable[Mapping[str, Any]]) -> Iterator[RenderableType]:
    """How each challenger stands against the champion, a sentence each."""
    for one in contests:
        if not one["examples"]:
            continue
        metric = str(one["metric"]).replace("_", " ")
        losses = f"{metric} {number(one['challenger_loss'])} against {number(one['champion_loss'])}"
        if one["bound"] is None:
            verdict = "too few examples to tell"
        elif one["proven"]:
            verdict = f"better beyond the margin of {one['margin']:.1%}, at {one['confidence']:.0%} confidence"
        else:
            verdict = f"not proven better by {one['margin']:.1%} (lower bound {one['bound']:.4f}, to be above 0)"
        yield Text(
            f"  {plain(one['challenger'])} against {plain(one['champion'])}: {losses}, {one['examples']:,} examples: {verdict}"
        )


def calibration_table(tables: Mapping[str, Sequence[Mapping[str, float]]]) -> Table | None:
    """By tenths of the examples in order of their score, what was said and what came, for each candidate."""
    names = [name for name, found in tables.items() if found]
    if not names:
        return None
    made = table("scores", *(title for name in names for title in (f"{plain(name)} said", "came")), left=1)
    for at in range(max(len(tables[name]) for name in names)):
        cells = []
        for name in names:
            found = tables[name]
            cells += [f"{found[at]['said']:.1%}", f"{found[at]['came']:.1%}"] if at < len(found) else ["", ""]
        made.add_row("lowest tenth" if at == 0 else f"tenth {at + 1}", *cells)
    return made


def scores_lines(scores: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Coverage and age of the scores of customers, in a line.

    >>> [line.plain for line in scores_lines({"moments": 80, "coverage": 0.95, "age_median": 3_600_000, "age_p95": 93_600_000})]
    ['  scores: 95.0% of 80 moments had one; the one before was 1h old (median), 1d2h (95%)']
    """
    if not scores:
        return
    text = f"  scores: {scores['coverage']:.1%} of {scores['moments']:,} moments had one"
    if "age_median" in scores:
        median, most = (format_duration(_rounded(scores[key])) for key in ("age_median", "age_p95"))
        text += f"; the one before was {median} old (median), {most} (95%)"
    yield Text(text)


def _rounded(age: int) -> int:
    """A time span to two or three places: nobody looks at the seconds of days."""
    unit = next((one for one in (3_600_000, 60_000, 1_000) if age >= 10 * one), 1)
    return round(age / unit) * unit


def importance_lines(figures: Mapping[str, Any]) -> Iterator[RenderableType]:
    """The features that a candidate lives on, those that matter most first."""
    found: Mapping[str, float] = figures.get("importance") or {}
    if not found:
        return
    weights: Mapping[str, float] = figures.get("coefficients") or {}
    most = max(0.0, *found.values())
    made = table("  feature", "loss without it", "", *(["coefficient"] if weights else []))
    made.columns[2].justify = "left"
    for name, value in list(found.items())[:_FEATURES]:
        bar = "█" * max(0, round(20 * value / most)) if most > 0 else ""
        made.add_row(
            f"  {plain(name)}", f"{value:+.4f}", Text(bar, "cyan"), *([number(weights.get(name))] if weights else [])
        )
    yield made
    if len(found) > _FEATURES:
        yield Text(f"  ... and {len(found) - _FEATURES} that matter less", "dim")


def wide() -> Console:
    """Where tables of models are printed: as wide as the terminal or `COLUMNS` says, else wide enough for all of them."""
    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(highlight=False, width=None if known else _WIDE)


def persona_lines(figures: Mapping[str, Any]) -> Iterator[RenderableType]:
    """The personas: share of the newest examples, and by what they differ most from all customers; who is missing, and who has died."""
    found: Mapping[str, Any] = figures.get("personas") or {}
    if not found:
        if "personas" in figures:
            yield Text(
                "  no personas yet: they begin once enough examples have come and customers stand still", "yellow"
            )
        return
    made = table("  persona", "id", "share", "since example", "unlike all customers in (standard deviations)")
    made.columns[4].justify = "left"
    for name, one in sorted(found.items(), key=lambda each: -each[1]["share"]):
        looks = sorted(one["looks"].items(), key=lambda each: -abs(each[1]))[:4]
        shown = ", ".join(f"{plain(feature)} {value:+.1f}" for feature, value in looks)
        title = Text(f"  {plain(name)}") + Text(" declared" if one.get("declared") else "", "green")
        made.add_row(title, number(one.get("id")), f"{one['share']:.1%}", number(one.get("since")), shown)
    yield made
    if missing := figures.get("not_found"):
        yield Text(f"  declared, but nobody is like that now: {', '.join(map(plain, missing))}", "yellow")
    if gone := figures.get("gone"):
        words = [f"{plain(one['name'])} (id {one['id']}, until example {one['until']:,})" for one in gone[-_GONE:]]
        yield Text(f"  died, the newest last: {', '.join(words)}", "dim")


def fairness_lines(figures: Mapping[str, Any]) -> Iterator[RenderableType]:
    """How groups are treated, where that was asked for."""
    found = figures.get("fairness")
    if not found:
        return
    difference = found.get("demographic_parity_difference")
    heading = f"  fairness by {plain(found['trait'])}, selected from a score of {found['threshold']:g}"
    if difference is not None:
        ratio = found["demographic_parity_ratio"]
        heading += f": parity difference {difference:.3f} (bound {found['bound']:g}), ratio {ratio:.3f}"
    yield Text(heading + ("  ALERT" if found.get("alert") else ""), "red" if found.get("alert") else "")
    made = table("  group", "examples", "selected", "found of those it came to", "base rate", "mean score")
    for name, one in found["groups"].items():
        reached = one.get("true_positive_rate")
        made.add_row(
            f"  {plain(name) or '(unknown)'}",
            number(one["examples"]),
            f"{one['selection_rate']:.1%}",
            f"{reached:.1%}" if reached is not None else "-",
            f"{one['base_rate']:.1%}",
            number(one["mean_score"]),
        )
    yield made
    if decided := found.get("decided"):
        yield Text(
            f"  as it was decided: parity difference {decided['demographic_parity_difference']:.3f},"
            f" ratio {decided['demographic_parity_ratio']:.3f}"
        )
        levels = ", ".join(f"{plain(name)} {number(level)}" for name, level in found["thresholds"].items())
        yield Text(f"  thresholds from now on: {levels}")
    if cost := found.get("cost"):
        own, single = cost["own_thresholds"], cost["one_threshold"]
        told = (f"{words} {number(own.get(key))} instead of {number(single.get(key))}" for key, words in COSTS.items())
        yield Text(f"  with them on these examples: {', '.join(told)}")


def event_words(one: Mapping[str, Any]) -> str:
    """An event of a model in a line, without its time.

    >>> event_words({"kind": "drift", "candidate": "tree", "detail": {"of": "views", "detector": "adwin", "before": 2.0, "after": 5.5}})
    'drift (tree): views 2.000 → 5.500 by adwin'
    >>> event_words({"kind": "persona", "candidate": "means", "detail": {"kind": "persona split", "name": "savers", "of": "all"}})
    'persona (means): split of savers, which was part of all'
    >>> back = {"version": 103, "origin": "rollback", "of": 2, "message": "drifted away", "role": "champion"}
    >>> event_words({"kind": "adopted", "candidate": "tree", "detail": back})
    'adopted (tree): version 103, champion, rollback to version 2: drifted away'
    """
    detail = one["detail"]
    candidate = f" ({plain(one['candidate'])})" if one["candidate"] else ""
    match one["kind"]:
        case "drift":
            moved = (
                f" {number(detail['before'])} → {number(detail['after'])}" if detail.get("before") is not None else ""
            )
            said = f"{plain(detail.get('of', ''))}{moved} by {detail.get('detector', '')}"
        case "promoted" | "would promote":
            metric = str(detail.get("metric", "")).replace("_", " ")
            losses = f"{metric} {number(detail.get('challenger_loss'))} against {number(detail.get('champion_loss'))}"
            said = f"{losses} of {plain(detail.get('champion', ''))}"
        case "persona":
            said = f"{detail.get('kind', '').removeprefix('persona ')} of {plain(detail.get('name', ''))}"
            for key, words in (("of", "which was part of"), ("into", "now mostly"), ("was", "before that")):
                said += f", {words} {plain(detail[key])}" if detail.get(key) else ""
        case "adopted":
            origin = _ORIGINS.get(str(detail.get("origin")), "made elsewhere")
            said = f"version {plain(str(detail.get('version')))}, {plain(str(detail.get('role')))}, {origin}"
            said += f" to version {plain(str(detail['of']))}" if detail.get("of") else ""
            said += f": {plain(str(detail['message']))}" if detail.get("message") else ""
        case "refused":
            said = f"version {plain(str(detail['version']))}: " if detail.get("version") else ""
            said += plain(str(detail.get("reason") or detail.get("failure")))
        case _:
            said = ", ".join(f"{name} {plain(str(value))}" for name, value in detail.items())
    return f"{one['kind']}{candidate}" + (f": {said}" if said else "")


def render_run(told: dict[str, Any]) -> RenderableType:
    """What came of a history, for `try` and `train`."""
    history = told["history"]
    sample = f", a sample of {history['sample']:.3g} of the customers" if history["sample"] < 1 else ""
    span = f"{day(history['from'])} to {day(history['until'])}" if history["from"] else "nothing"
    parts: list[RenderableType] = [Text(f"{history['source']}: {history['events']:,} events, {span}{sample}")]
    for one in told["models"]:
        parts += list(_model_lines(one, told.get("live", {}).get(one["model"])))
    return Group(*parts)


def _model_lines(one: Mapping[str, Any], live: Mapping[str, Any] | None) -> Iterator[RenderableType]:
    yield Text.assemble("\n", (one["model"], "bold"), f"  {plain(one['name'])}  ({one['task']})")
    if not one["candidates"]:
        yield Text("  no example came of this history: is it longer than the target looks ahead?", "yellow")
        return
    yield Text(
        f"  {one['examples']:,} examples, {one['versions']:,} versions; figures are of the newest 2,000 foretold", "dim"
    )
    others: dict[str, Mapping[str, Any]] = {"base rate": one["baseline"]} if one["task"] == "classification" else {}
    if one["task"] == "regression":
        others = {"always the mean": one["baseline"]}
    if live is not None:
        others[f"live: {plain(live['champion'])}"] = live["candidates"].get(live["champion"], {})
    yield candidates_table(one["task"], one["candidates"], one["champion"], others)
    yield from chart(one["task"], one["over_time"], one["candidates"])
    yield from contest_lines(one["contests"])
    yield from scores_lines(one["scores"])
    calibration = calibration_table(one["calibration"])
    if calibration is not None:
        yield Text("  what was said and what came, by tenths of the scores", "dim")
        yield calibration
    figures = one["candidates"][one["champion"]]
    yield from importance_lines(figures)
    yield from persona_lines(figures)
    yield from fairness_lines(figures)
    yield from event_lines(one["events"], 8)


def event_lines(events: Sequence[Mapping[str, Any]], most: int, title: str = "events") -> Iterator[RenderableType]:
    """The newest events, the oldest of them first."""
    if not events:
        return
    yield Text(f"  {title}: {len(events):,}" + (f", the newest {most}" if len(events) > most else ""), "dim")
    for one in events[-most:]:
        at = (one["at"] or "-").replace("T", " ")[:16]
        yield Text(f"  {at}  {event_words(one)}")
