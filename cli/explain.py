"""`segue explain`: why a customer is in a segment or not, now by the running job, or at a moment of the past by replaying their events."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from cli.backfill import Report, ruled
from cli.control import ask
from cli.errors import UserError
from cli.history import Account, Arrived, Share, Source, decode
from cli.published import read_published
from cli.rule_files import count
from cli.target import kafka_settings
from flink_jobs.settings import Settings
from profiles import Event, Profile, parse_time
from profiles.document import suggestion
from rules.compiled import moment
from rules.duration import parse_duration
from rules.explain import explain
from rules.ruled import Ruled
from rules.step import step


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `explain` to the `segue` command."""
    parser = subparsers.add_parser(
        "explain",
        help="say why a customer is in a segment or not",
        description="Asks the running job where a customer stands: each condition with what it found and what it wants, what would "
        "change it, and what happens next if nothing comes. With --at, replays the customer's events up to that time instead.",
    )
    parser.add_argument("customer", metavar="CUSTOMER", help="the customer's id, as in the key of their events")
    parser.add_argument("segment", nargs="?", metavar="SEGMENT", help="one segment; default: all")
    parser.add_argument("--at", metavar="TIME", help="`now`, so long ago (`2h`), or a time (`2026-01-31T12:00:00Z`)")
    parser.add_argument("--json", action="store_true", help="one JSON object, as in docs/schemas/explanations.json")
    parser.add_argument("--settings", type=Path, metavar="FILE", help="settings file; default: the local cluster")
    parser.add_argument("--bootstrap", metavar="HOST:PORT", help="Kafka, instead of the settings'")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Explains; 0 if the customer is known, 1 if not."""
    settings = kafka_settings(args.settings, args.bootstrap)
    at = parse_at(args.at, int(time.time() * 1000)) if args.at is not None else None
    if at is None:
        found = ask(settings, args.customer, args.segment)
    else:
        found = replayed(settings, args.customer, args.segment, at, Report(quiet=args.json))
    if found["unknown_segment"] is not None:
        raise _unknown(settings, str(found["unknown_segment"]))
    if args.json:
        print(json.dumps(found, ensure_ascii=False))
    else:
        _print(found)
    return 0 if found["known"] else 1


def parse_at(text: str, now: int) -> int:
    """The moment meant, in epoch milliseconds.

    >>> parse_at("now", 5000), parse_at("2s", 5000), parse_at("1970-01-01T00:00:03Z", 5000)
    (5000, 3000, 3000)
    """
    if text == "now":
        return now
    try:
        return now - parse_duration(text)
    except ValueError:
        pass
    try:
        return parse_time(int(text) if text.isdecimal() else text)
    except ValueError:
        raise UserError(
            f"--at {text!r} is no moment", "`now`, so long ago such as `2h`, or a time such as `2026-01-31T12:00:00Z`"
        ) from None


def replayed(settings: Settings, customer: str, segment: str | None, at: int, report: Report) -> dict[str, Any]:
    """What the newest rules say of a customer at a moment, by the events of theirs that the topic holds up to then."""
    rules = read_published(settings).rules
    if rules is None:
        raise UserError(f"topic {settings.topics.rules} holds no rules", "`segue rules apply` publishes some")
    under = ruled(rules, settings)
    events = customers_events(Source(settings, settings.topics.events), customer, at, report)
    profile, counted = profile_at(under, events)
    shown = f"{count(counted, 'event')} of topic {settings.topics.events} replayed up to {moment(at)}"
    report.done(f"{shown}, under version {rules.version}: what the job was told otherwise is not in it")
    return explain(profile, under, at, customer, segment)


def customers_events(source: Source, customer: str, at: int, report: Report) -> Iterator[tuple[Event, int]]:
    """A customer's events up to a moment, as they arrived, with their watermarks."""
    account = Account()

    def theirs() -> Iterator[Arrived]:
        for number, one in enumerate(source.arrivals(account, Share(), None, at)):
            if not number % 1000:
                report.now(f"looking for the customer: {number:,} events")
            if one.customer == customer:
                yield one

    with report:
        for event, watermark in decode(theirs(), account):
            if event.event_time <= at:
                yield event, min(watermark, at)


def profile_at(under: Ruled, events: Iterator[tuple[Event, int]]) -> tuple[Profile | None, int]:
    """The profile after these events, and how many there were."""
    profile: Profile | None = None
    counted = 0
    for event, watermark in events:
        profile, decision = step(profile, under, event, watermark)
        counted += decision.outcome == "applied"
    return profile, counted


def _unknown(settings: Settings, segment: str) -> UserError:
    rules = read_published(settings).rules
    names = [one.name for one in rules.segments] if rules else []
    return UserError(f"there is no segment {segment!r}", suggestion(segment, names) or "`segue rules list` has all")


def _print(found: dict[str, Any]) -> None:
    from cli.explain_view import render

    Console(highlight=False).print(render(found))
    if not found["known"]:
        print(
            f"customer {found['customer']!r} is not known: no event of theirs was applied, or they expired",
            file=sys.stderr,
        )
