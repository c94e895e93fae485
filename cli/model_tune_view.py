"""A search as it is shown in a terminal: what was found, what it is worth on what the search has not seen, and the YAML of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.changes import plain
from cli.model_view import TITLES, number, share, table
from cli.rule_files import count
from cli.trial_view import day
from online_models.compared import SHOWN

_BEST: Final = 5
"""Trials that are shown: those with the least losses."""


def render_search(told: dict[str, Any]) -> RenderableType:
    """All that `segue models tune` says."""
    history = told["history"]
    lines: list[RenderableType] = [
        f"{plain(history['source'])}: {count(history['events'], 'event')}, "
        f"{day(history['from'])} to {day(history['until'])}"
    ]
    title = f"{plain(told['name'])}  " if told["name"] != told["model"] else ""
    lines += ["", Text(plain(told["model"]), "bold") + Text(f"  {title}({told['task']})", "not bold")]
    lines.append(f"  {count(told['examples'], 'example')}; searched on the outcomes known by {day(told['cut'])}")
    for one in told["searches"]:
        lines += _search_lines(told, one)
    return Group(*lines)


def _search_lines(told: Mapping[str, Any], one: Mapping[str, Any]) -> Iterator[RenderableType]:
    metric = TITLES[told["metric"]]
    yield ""
    words = [f"{one['finished']} to the end", f"{one['pruned']} ended early as they were worse"]
    words += [f"{one['failed']} failed"] if one["failed"] else []
    stopped = " (stopped)" if one["interrupted"] else ""
    yield Text(f"{one['candidate']}: {count(len(one['trials']), 'trial')}{stopped}", "bold") + Text(
        f", {', '.join(words)}", "not bold"
    )
    for failure in sorted({trial["failure"] for trial in one["trials"] if trial["failure"]})[:3]:
        yield f"  failed: {plain(failure)}"
    yield _parameters(one)
    yield _trials(one, metric)
    if one["best"] is None:
        yield f"  nothing better than what is declared: {metric} {_loss(one['earlier']['declared'])}"
        return
    yield from _later_lines(told, one, metric)
    yield ""
    yield "  a challenger to paste under `candidates`:" if one["room"] else "  as a candidate, in place of another:"
    # It is to be pasted: no line may be broken.
    yield Text(one["yaml"], "cyan", no_wrap=True, overflow="ignore")


def _parameters(one: Mapping[str, Any]) -> Table:
    made = table("  parameter", "declared", "best", "matters")
    for path, declared in one["declared"].items():
        best = written(one["best"][path]) if one["best"] is not None else "-"
        said = written(declared) if declared is not None else "-"
        made.add_row(f"  {path}", said, best, share(one["importance"].get(path)))
    return made


def _trials(one: Mapping[str, Any], metric: str) -> Table:
    """The best trials, each with its values in the order of the parameters above."""
    made = table("  trial", metric, "values", left=1)
    made.columns[2].justify = "left"
    ended = [trial for trial in one["trials"] if trial["state"] == "finished"]
    made.add_row("  declared", _loss(one["earlier"]["declared"]), "")
    for trial in sorted(ended, key=lambda trial: (trial["loss"], trial["number"]))[:_BEST]:
        values = ", ".join(written(value) for value in trial["values"].values())
        made.add_row(f"  {trial['number'] + 1}", _loss(trial["loss"]), values)
    return made


def _later_lines(told: Mapping[str, Any], one: Mapping[str, Any], metric: str) -> Iterator[RenderableType]:
    later = one.get("later")
    if later is None:
        yield "  stopped before both were put to what the search has not seen: do not trust the figures above"
        return
    if "failure" in later:
        yield f"  on what the search has not seen the best fails: {plain(later['failure'])}"
        return
    found = later["difference"]
    customers = count(found["customers"], "customer")
    yield f"  on the {count(found['examples'], 'example')} of {customers} that came after, unseen by the search:"
    made = table("  figure", "declared", "best")
    for key in SHOWN[told["task"]]:
        if key in later["declared"]:
            made.add_row(f"  {TITLES[key]}", *(_loss(later[which].get(key)) for which in ("declared", "best")))
    yield made
    if found["low"] is None:
        yield f"  {metric} lower by {found['better']:.4f}: too few customers to tell"
        return
    verdict = "better" if found["low"] > 0 else "worse" if found["high"] < 0 else "no difference beyond chance"
    interval = f"{later['confidence']:.0%}: {found['low']:.4f} to {found['high']:.4f}"
    yield Text.assemble(f"  {metric} lower by {found['better']:.4f} ({interval}): ", (verdict, "bold"))


def _loss(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) and abs(value) < 100 else number(value)


def written(value: Any) -> str:
    """A value for a person to read.

    >>> written(0.02), written({"SGD": {"lr": 0.1}}), written("platt"), written(True)
    ('0.02', 'SGD(lr=0.1)', 'platt', 'true')
    """
    if isinstance(value, Mapping) and len(value) == 1:
        ((name, inner),) = value.items()
        return f"{name}({', '.join(f'{key}={written(one)}' for key, one in (inner or {}).items())})"
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else plain(value)
