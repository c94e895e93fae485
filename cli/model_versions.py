"""`segue models list`, `show` and `history`: what the topics say of models, their versions and how good they are."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
from rich.console import Group, RenderableType
from rich.text import Text

from cli.changes import plain
from cli.errors import UserError
from cli.model_run import FIGURES, baseline, thinned
from cli.model_topics import Versions, newest_quality, read_versions, read_words
from cli.model_view import (
    CHARTED,
    TITLES,
    candidates_table,
    chart,
    contest_lines,
    event_lines,
    event_words,
    fairness_lines,
    importance_lines,
    number,
    persona_lines,
    scores_lines,
    share,
    table,
    wide,
)
from cli.published import read_published
from cli.rule_files import write_json
from cli.target import kafka_settings
from flink_jobs.model_records import Header
from flink_jobs.settings import Settings
from online_models.parse import parse_models
from online_models.version import ModelVersion
from rules.compiled import moment
from rules.errors import RuleErrors

if TYPE_CHECKING:
    from cli.models import AddModelAction

_SHOWN: Final = 20


def add_actions(action: AddModelAction) -> None:
    """Adds the actions that look at what is published."""
    action("list", _list, "list the models with their champions and how good these are")
    showing = action("show", _show, "show how good a model is, what it lives on, and what happened to it lately")
    showing.add_argument("model", metavar="MODEL")
    showing.add_argument(
        "--version", type=int, metavar="N", help="one version: where it comes from, and its figures then"
    )
    history = action("history", _history, "list the versions of a model that are kept, and what happened to it")
    history.add_argument("model", metavar="MODEL")


# --- list ---------------------------------------------------------------------------------------------------------


def _list(args: argparse.Namespace) -> int:
    settings = kafka_settings(args.settings, args.bootstrap)
    versions, words = read_versions(settings), read_words(settings)
    tasks = _tasks(settings)
    quality = newest_quality(words)
    happened = Counter((one["model"], one["kind"]) for one in words)
    names = sorted({*versions.models(), *tasks, *(one["model"] for one in words)})
    rows = [_row(name, versions, quality.get(name), happened, tasks.get(name)) for name in names]
    if args.json:
        write_json({"models": rows})
        return 0
    if not rows:
        print("there are no models: `segue models apply` publishes some")
        return 0
    made = table(
        "model", "champion", "state", "version", "examples", "figure", "coverage", "drifts", "promotions", left=3
    )
    for one in rows:
        figure = f"{TITLES[one['figure']]} {number(one['value'])}" if one["value"] is not None else "-"
        numbers = [number(one[key]) for key in ("version", "examples")]
        made.add_row(
            Text(plain(one["model"]), "bold"),
            plain(one["champion"] or "-"),
            one["state"],
            *numbers,
            figure,
            share(one["coverage"]),
            number(one["drifts"]),
            number(one["promotions"]),
        )
    wide().print(made)
    return 0


def _tasks(settings: Settings) -> dict[str, str]:
    """The task of each model that is published with the rules, by name; none where this build refuses them."""
    rules = read_published(settings).rules
    try:
        return {one.name: one.task for one in parse_models(rules.models)} if rules is not None else {}
    except RuleErrors as refused:
        print(f"warning: the models that are published are not valid: {refused.errors[0].message}", file=sys.stderr)
        return {}


def _row(
    name: str, versions: Versions, quality: Mapping[str, Any] | None, happened: Counter[Any], task: str | None
) -> dict[str, Any]:
    champion = quality["champion"] if quality else ""
    figures: Mapping[str, Any] = quality["candidates"].get(champion, {}) if quality else {}
    newest = _standing(versions, name)
    key = CHARTED.get(task or "", "")
    state = "removed" if task is None else "learning" if quality else "trained" if newest else "no version yet"
    return {
        "model": name,
        "task": task,
        "state": state,
        "champion": champion or (newest.candidate if newest else None),
        "version": figures.get("version") or (newest.version if newest else None),
        "examples": figures.get("examples"),
        "figure": key,
        "value": figures.get(key),
        "coverage": figures.get("coverage"),
        "at": quality["at"] if quality else None,
        "drifts": happened[name, "drift"],
        "promotions": happened[name, "promoted"],
    }


def _standing(versions: Versions, name: str) -> Header | None:
    """The newest version of a model's champion; of a challenger where none is one. None if there is no version."""
    return versions.champion(name) or next(iter(versions.of(name)), None)


# --- show ---------------------------------------------------------------------------------------------------------


def _show(args: argparse.Namespace) -> int:
    settings = kafka_settings(args.settings, args.bootstrap)
    versions = read_versions(settings)
    if args.version is not None:
        return _show_version(args, versions.version(args.model, args.version))
    words = read_words(settings, args.model)
    quality = newest_quality(words).get(args.model)
    listed = versions.of(args.model)
    events = [one for one in words if one["kind"] != "quality"]
    if quality is None and not listed and not events:
        raise UserError(f"nothing is known of a model {args.model!r}", "`segue models list` says which there are")
    if args.json:
        write_json(
            {"model": args.model, "quality": quality, "versions": [one._asdict() for one in listed], "events": events}
        )
        return 0
    console = wide()
    if quality is None:
        standing = _standing(versions, args.model)
        if standing is None:
            console.print(f"{args.model}: there is no version of it now")
            console.print(Group(*event_lines(events, 10)))
            return 0
        newest = versions.version(args.model, standing.version)
        console.print(
            f"{args.model}: the job has said nothing of it yet; version {newest.version} is from {newest.lineage.origin}"
        )
        return _show_version(args, newest)
    console.print(Group(*_quality_lines(args.model, _tasks(settings).get(args.model), quality, words)))
    console.print(Group(*event_lines(events, 10)))
    personas = [one for one in events if one["kind"] == "persona" and one["candidate"] == quality["champion"]]
    if len(personas) > sum(one["kind"] == "persona" for one in events[-10:]):
        console.print(Group(*event_lines(personas, _SHOWN, "events of the champion's personas")))
    return 0


def _quality_lines(
    model: str, task: str | None, quality: Mapping[str, Any], words: Iterable[Mapping[str, Any]]
) -> Iterator[RenderableType]:
    candidates, champion = quality["candidates"], quality["champion"]
    at = (quality["at"] or "-").replace("T", " ")[:16]
    yield Text.assemble(
        (plain(model), "bold"), f"  {task or 'not defined any more'}, champion {plain(champion)}, as of {at} UTC"
    )
    task = task or "anomaly"
    others = {"base rate": baseline(task, candidates.get(champion, {}))}
    yield candidates_table(task, candidates, champion, others)
    reports = [
        {"at": one["at"], "candidates": one["detail"]["candidates"]} for one in words if one["kind"] == "quality"
    ]
    yield from chart(task, thinned(reports), candidates)
    yield from contest_lines(quality.get("contests", ()))
    yield from scores_lines(quality.get("scores", {}))
    figures = candidates.get(champion, {})
    yield from importance_lines(figures)
    yield from persona_lines(figures)
    yield from fairness_lines(figures)
    segments = figures.get("segments") or {}
    if segments:
        keys = [key for key in FIGURES[task] if key in TITLES]
        made = table("  in segment", "examples", *(TITLES[key] for key in keys))
        for name, one in sorted(segments.items(), key=lambda each: -each[1]["examples"])[:10]:
            made.add_row(f"  {plain(name)}", number(one["examples"]), *(number(one.get(key)) for key in keys))
        yield made


def _show_version(args: argparse.Namespace, one: ModelVersion) -> int:
    if args.json:
        write_json(_version_as_json(one))
        return 0
    lineage, console = one.lineage, wide()
    console.print(Text.assemble((one.key, "bold"), f"  {one.role}, {len(one.body):,} bytes"))
    span = f"{moment(lineage.first)[:10]} to {moment(lineage.last)[:10]}" if lineage.examples else "nothing"
    parent = f", from version {lineage.parent}" if lineage.parent else ""
    print(f"  learnt    {lineage.examples:,} examples labelled from {span}{parent}, by {lineage.origin}")
    if lineage.message:
        print(f"  because   {plain(lineage.message)}")
    print(f"  made at   {moment(one.created_at)}  definition {one.digest}, River {lineage.river or '?'}")
    print(f"  pipeline  {plain(str(lineage.parameters), 300)}")
    keys = [key for keys in FIGURES.values() for key in keys if key in one.metrics]
    if keys:
        shown = ", ".join(f"{TITLES[key]} {number(one.metrics[key])}" for key in dict.fromkeys(keys))
        print(f"  figures   {shown}")
    if one.thresholds is not None:
        levels = ", ".join(f"{plain(name)} {number(level)}" for name, level in one.thresholds.groups.items())
        print(f"  selected  from {number(one.thresholds.common)}; by {plain(one.thresholds.trait)} from: {levels}")
    return 0


# --- history ------------------------------------------------------------------------------------------------------


def _history(args: argparse.Namespace) -> int:
    settings = kafka_settings(args.settings, args.bootstrap)
    versions = read_versions(settings)
    listed = versions.of(args.model)
    events = [one for one in read_words(settings, args.model) if one["kind"] != "quality"]
    if not listed and not events:
        raise UserError(f"nothing is known of a model {args.model!r}", "`segue models list` says which there are")
    read = [versions.version(args.model, one.version) for one in listed]
    if args.json:
        rows = [_version_as_json(one) for one in read]
        write_json({"model": args.model, "versions": rows, "events": events})
        return 0
    made = table("version", "candidate", "role", "from", "made at (event time)", "examples", "figures", left=5)
    for one in read[:_SHOWN]:
        keys = [key for key in ("roc_auc", "log_loss", "mae") if key in one.metrics]
        made.add_row(
            str(one.version),
            plain(one.candidate),
            one.role,
            one.lineage.origin,
            moment(one.created_at).replace("T", " ")[:16],
            number(one.lineage.examples),
            ", ".join(f"{TITLES[key]} {number(one.metrics[key])}" for key in keys) or "-",
        )
    console = wide()
    console.print(made)
    if len(read) > _SHOWN:
        print(f"... and {len(read) - _SHOWN} older ones (--json has all)")
    for event in events[-_SHOWN:]:
        at = (event["at"] or "-").replace("T", " ")[:16]
        console.print(Text(f"{at}  {event_words(event)}"))
    return 0


def _version_as_json(one: ModelVersion) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(one, body=b""))
    return {**found, "body": len(one.body), "created_at": moment(one.created_at)}
