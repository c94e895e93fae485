"""`segue rules try`: what rules would have done over the history, before they are live."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from cli.errors import UserError
from cli.history import DAY, Source, end_offsets
from cli.progress import step
from cli.published import read_published
from cli.rule_files import AddAction, check_plan, load_rules, short, write_json
from cli.target import kafka_settings
from cli.trial_html import page
from cli.trial_run import Example, Figures, Findings, Trial, warnings
from cli.trial_view import render
from flink_jobs.settings import Settings
from rules.compiled import moment
from rules.project import in_zone
from rules.rule_set import RuleSet, load_directory

_FILE_ENDINGS: Final = (".csv", ".json", ".jsonl", ".ndjson", ".gz", ".txt")


def add_actions(action: AddAction) -> None:
    """Adds `try` to `segue rules`."""
    text = "say what rules would have done over the history: size, who enters and leaves, overlap, what changes"
    parser = action("try", run, text, kafka=True)
    parser.description = (
        f"{parser.description} Customers are shown by their ids: it is for those who may see them. "
        "A file is tried among the rules that are live, or those of --against."
    )
    parser.add_argument("--history", required=True, metavar="TOPIC|FILE", help="events: a topic, or CSV or JSON lines")
    parser.add_argument("--map", type=Path, metavar="MAP.yaml", help="field map of a file; without: SDK events")
    parser.add_argument("--days", type=days_of, default=90.0, metavar="N|all", help="of the history's end; default: 90")
    parser.add_argument("--sample", type=share_of, default=1.0, metavar="10%", help="a share of the customers")
    parser.add_argument("--against", type=Path, metavar="DIR", help="compare with these rules, not the live ones")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a report to look at in a browser")


def days_of(text: str) -> float | None:
    """The number of days that a text names; None for all.

    >>> days_of("90"), days_of("7d"), days_of("all")
    (90.0, 7.0, None)
    """
    if text == "all":
        return None
    try:
        days = float(text.removesuffix("d"))
    except ValueError:
        days = 0.0
    if not 0 < days <= 36_500:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days; 90 or all are")
    return days


def share_of(text: str) -> float:
    """The share that a percentage or a fraction names.

    >>> share_of("10%"), share_of("0.25")
    (0.1, 0.25)
    """
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share of the customers; 10% or 0.1 are")
    return share


def run(args: argparse.Namespace) -> int:
    """Tries the rules and says what came of it; 0 unless they are wrong."""
    began = time.monotonic()
    tried = load_rules(args.path)
    against, compared_with = _compared(args)
    rules = tried if args.path.is_dir() else _among(tried, against, str(short(args.path)))
    focus = _focus(args, tried, against)
    trial = Trial(source_of(args), rules, against, args.days, args.sample, int(time.time() * 1000))
    with step(f"trying {len(rules.segments)} segments on {trial.source.name}", quiet=args.json):
        findings = trial.run()
    told = report(trial, findings, focus, compared_with)
    told["seconds"] = round(time.monotonic() - began, 1)
    if args.html is not None:
        try:
            args.html.write_text(page(told), "utf-8")
        except OSError as error:
            raise UserError(f"{args.html} cannot be written: {error.strerror or error}") from None
    if args.json:
        write_json(told)
    else:
        Console(highlight=False).print(render(told))
        if args.html is not None:
            print(f"report: {short(args.html)}")
    return 0


# --- what is tried on what ------------------------------------------------------------------------------------------


def source_of(args: argparse.Namespace) -> Source:
    """The file of that name if there is one, else the topic."""
    file = Path(args.history)
    if file.is_file():
        return Source(Settings(), file=file, field_map=args.map)
    if file.is_dir() or "/" in args.history or args.history.endswith(_FILE_ENDINGS):
        raise UserError(f"{file} is a folder" if file.is_dir() else f"{file} does not exist", "name a file or a topic")
    if args.map is not None:
        raise UserError("--map is for files; a topic holds events already", f"there is no file {args.history}")
    settings = kafka_settings(args.settings, args.bootstrap)
    ends = end_offsets(settings, args.history)
    if not ends:
        raise UserError(f"there is no file and no topic {args.history!r}", "--history names one of them")
    return Source(settings, args.history, ends)


def _compared(args: argparse.Namespace) -> tuple[RuleSet | None, str]:
    """The rules to compare with and their name: those of --against, else the live ones where Kafka answers; else none."""
    if args.against is not None:
        return load_directory(short(args.against)), str(short(args.against))
    named = args.settings is not None or args.bootstrap is not None
    try:
        live = read_published(kafka_settings(args.settings, args.bootstrap)).rules
    except UserError as error:
        if named:
            raise
        print(f"segue: not compared with the live rules: {error.message}", file=sys.stderr)
        return None, ""
    return (live.active, f"version {live.version}") if live is not None else (None, "")


def _among(tried: RuleSet, others: RuleSet | None, shown: str) -> RuleSet:
    """The other rules with the one that is tried in its place."""
    if others is None:
        return tried
    names = {one.name for one in tried.segments}
    kept = [one for one in others.segments if one.name not in names]
    zoned = [one if tried.project.text else in_zone(one, others.project.zone) for one in tried.segments]
    segments = tuple(sorted((*kept, *zoned), key=lambda one: one.name))
    # Whatever else was measured or set for the others holds for this one too; what they never needed stands beside this one.
    bounds = {**tried.population.bounds, **others.population.bounds}
    population = dataclasses.replace(others.population, bounds=bounds)
    rules = dataclasses.replace(others, segments=segments, population=population)
    check_plan(rules, shown)
    return rules


def _focus(args: argparse.Namespace, tried: RuleSet, against: RuleSet | None) -> list[str]:
    """The segments to be told of at length: the one of a file, or those of a folder that are new or mean something else."""
    if args.path.is_dir() and against is not None:
        return [one.name for one in tried.segments if against.digests.get(one.name) != one.digest]
    return [one.name for one in tried.segments]


# --- what is told ---------------------------------------------------------------------------------------------------


def report(trial: Trial, findings: Findings, focus: list[str], compared_with: str) -> dict[str, Any]:
    """All of it as plain values, for JSON and for what is shown."""
    account = findings.account
    titles = {one.name: one.title for one in trial.rules.segments}
    known = {one.name for one in trial.against.segments} if trial.against is not None else set()
    first, last = account.first_time, account.last_time
    return {
        "history": {
            "source": trial.source.name,
            "from": moment(first) if first is not None else None,
            "until": moment(last) if last is not None else None,
            "days": trial.days,
            "sample": trial.sample,
            "records": account.read,
            "events": account.events,
            "refused": dict(account.refused.most_common()),
            "older": account.older,
            "other_customers": account.others,
            "outcomes": dict(sorted(findings.outcomes.items())),
        },
        "customers": findings.customers,
        "compared_with": compared_with or None,
        "focus": focus,
        "warnings": warnings(trial.rules, focus, account, trial.days),
        "segments": [
            {
                "segment": name,
                "name": titles[name],
                "new": trial.against is not None and name not in known,
                **_figures(figures, findings, first, last, trial.against is not None),
            }
            for name, figures in findings.segments.items()
        ],
        "removed": sorted(known - findings.segments.keys()),
    }


def _figures(
    figures: Figures, findings: Findings, first: int | None, last: int | None, compared: bool
) -> dict[str, Any]:
    days = range(first // DAY, last // DAY + 1) if first is not None and last is not None else range(0)
    difference = {
        "entering": figures.entering,
        "leaving": figures.leaving,
        "entering_examples": [_example(one) for one in figures.entering_examples],
        "leaving_examples": [_example(one) for one in figures.leaving_examples],
    }
    return {
        "members": figures.members,
        "share": round(figures.members / findings.customers, 6) if findings.customers else 0.0,
        "entered": figures.entered.total(),
        "exited": figures.exited.total(),
        "days": [{"day": _day(day), "entered": figures.entered[day], "exited": figures.exited[day]} for day in days],
        "overlap": [
            {"segment": other, "both": both, "share": round(both / figures.members, 6)}
            for other, both in sorted(figures.overlap.items(), key=lambda one: (-one[1], one[0]))
        ],
        "examples": [_example(one) for one in figures.examples],
        "difference": difference if compared else None,
    }


def _example(one: Example) -> dict[str, Any]:
    return {
        "customer": one.customer,
        "since": moment(one.since) if one.since else None,
        "evidence": one.evidence,
    }


def _day(number: int) -> str:
    return datetime.fromtimestamp(number * 86_400, UTC).strftime("%Y-%m-%d")
