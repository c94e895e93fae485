"""The published versions: listing the segments and what became of them, comparing versions, and bringing the newest into a folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.errors import UserError
from cli.members import count_members
from cli.origin import carry_out, merge, read_note, texts_digest, write_note
from cli.paths import CATALOG
from cli.published import Published, read_published, summary
from cli.rule_files import (
    AddAction,
    ago,
    changes_as_json,
    count,
    load_rules,
    local_texts,
    print_changes,
    short,
    write_json,
)
from cli.target import kafka_settings
from flink_jobs.settings import Settings
from profiles.zones import UTC
from rules.errors import RuleErrors
from rules.rule_set import Header, RuleSet, diff

_SHOWN = 30


def add_actions(action: AddAction) -> None:
    """Adds the actions that look at published versions."""
    text = "list the segments that are published and whether they are live; with PATH, the segments of rule files"
    listing = action("list", _list, text, kafka=True, path=None)
    listing.add_argument("--members", action="store_true", help="count the customers in each segment, too")
    text = (
        "list the published versions, who made them and what they changed; with N, what version N changed, line by line"
    )
    history = action("history", _history, text, kafka=True, takes_path=False)
    history.add_argument("version", nargs="?", type=_version, metavar="N", help="look at this version")
    text = "compare rule files with the newest version, or one version with another (`diff 3 5`)"
    comparing = action("diff", _diff, text, kafka=True, takes_path=False)
    words = "a folder of rule files or one of them, or the number of a version; default: the catalogue and the newest version"
    comparing.add_argument("sides", nargs="*", metavar="PATH|N", help=words)
    text = "write the newest version into a folder, and keep what was changed there alone"
    pull = action("pull", _pull, text, kafka=True)
    pull.add_argument("--force", action="store_true", help="take the published file where both sides have changed it")


def _version(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no version: they are 1, 2, 3 ...")
    return int(text)


# --- list ---------------------------------------------------------------------------------------------------------


def _list(args: argparse.Namespace) -> int:
    if args.path is not None:
        return _list_files(args)
    settings = kafka_settings(args.settings, args.bootstrap)
    rules = read_published(settings).rules
    members = count_members(settings) if args.members and rules else None
    if args.json:
        segments = [_segment_as_json(rules, one.name, members) for one in rules.segments] if rules else []
        _write_list(rules, segments)
    elif rules is None:
        _print_nothing(settings)
    else:
        console = Console(highlight=False)
        console.print(f"version {rules.version}, published {ago(rules.created_at)} by {rules.author or 'nobody named'}")
        if rules.project.zone != UTC:
            console.print(
                f"days and hours are those of {rules.project.zone} unless a rule or a customer says otherwise"
            )
        console.print(_segments_table(rules, members))
        if rules.warming:
            print(
                f"{count(len(rules.warming), 'segment')} still being counted: `segue rules apply --resume` goes on with it"
            )
    return 0


def _write_list(rules: RuleSet | None, segments: list[dict[str, Any]]) -> None:
    write_json({"version": rules.version if rules else None, "segments": segments})


def _print_nothing(settings: Settings) -> None:
    print(f"topic {settings.topics.rules} holds no rules: `segue rules apply` publishes some")


def _list_files(args: argparse.Namespace) -> int:
    rules = load_rules(args.path)
    if args.json:
        _write_list(None, [_segment_as_json(rules, one.name, None) for one in rules.segments])
        return 0
    table = _table("segment", "name", "owner", "tests")
    for segment in rules.segments:
        tests = len(rules.scenarios.get(segment.name, ()))
        table.add_row(Text(segment.name), Text(segment.title), Text(segment.owner), str(tests))
    Console(highlight=False).print(table)
    return 0


def state_of(rules: RuleSet, name: str) -> str:
    """What customers have of a segment: `live`, or `warming` while its past is being counted.

    >>> state_of(RuleSet(1, ()), "vip")
    'live'
    """
    if name not in rules.warming:
        return "live"
    return "warming" if rules.warming[name] is None else "warming (its previous rule is live)"


def _segment_as_json(rules: RuleSet, name: str, members: Mapping[str, int] | None) -> dict[str, Any]:
    segment = next(one for one in rules.segments if one.name == name)
    found = {
        "segment": name,
        "state": "warming" if name in rules.warming else "live",
        "version": segment.version,
        "name": segment.title,
        "owner": segment.owner,
        "description": segment.description,
        "digest": segment.digest,
        "tests": len(rules.scenarios.get(name, ())),
    }
    return found if members is None else found | {"members": members.get(name, 0)}


def _segments_table(rules: RuleSet, members: Mapping[str, int] | None) -> Table:
    table = _table("segment", "state", "since version", *(["members"] if members is not None else []), "name", "owner")
    for segment in rules.segments:
        counted = [f"{members.get(segment.name, 0):,}"] if members is not None else []
        row = [
            segment.name,
            state_of(rules, segment.name),
            str(segment.version),
            *counted,
            segment.title,
            segment.owner,
        ]
        table.add_row(*map(Text, row))
    return table


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in titles:
        right = title in ("version", "since version", "members", "segments", "tests")
        table.add_column(title, justify="right" if right else "left", overflow="fold")
    return table


# --- history ------------------------------------------------------------------------------------------------------


def _history(args: argparse.Namespace) -> int:
    settings = kafka_settings(args.settings, args.bootstrap)
    published = read_published(settings)
    if args.version is not None:
        rules = published.rule_set(args.version)
        return _show_diff(args, published.before(args.version), rules, of=args.version)
    headers = sorted(published.headers, key=lambda header: header.version)
    lines = [what_changed(before, header) for before, header in zip([None, *headers], headers, strict=False)]
    rows = list(zip(headers, lines, strict=True))[::-1]
    if args.json:
        shown = [asdict(one) | {"state": _version_state(published, one), "changed": what} for one, what in rows]
        write_json({"versions": shown})
        return 0
    if not rows:
        _print_nothing(settings)
        return 0
    table = _table("version", "published", "by", "segments", "what changed", "about")
    for header, what in rows[:_SHOWN]:
        about = "" if header.message == what else header.message
        state = _version_state(published, header)
        number = str(header.version) if state == "past" else f"{header.version} ({state})"
        table.add_row(
            number, ago(header.created_at), *map(Text, (header.author, str(len(header.segments)), what, about))
        )
    console = Console(highlight=False)
    console.print(table)
    if len(rows) > _SHOWN:
        console.print(f"... and {len(rows) - _SHOWN} older ones (--json has all)")
    return 0


def _version_state(published: Published, header: Header) -> str:
    """`live` or `warming` for the newest that is valid, `past` below it, `not valid` above."""
    rules = published.rules
    if rules is None or header.version > rules.version:
        return "not valid"
    if header.version < rules.version:
        return "past"
    return "warming" if rules.warming else "live"


def what_changed(before: Header | None, header: Header) -> str:
    """What a version changed against the one before, told by their headers alone: another wording of the same is not seen.

    >>> first = Header(1, 0, "", "", {"a": 1, "b": 1})
    >>> what_changed(first, Header(2, 0, "", "", {"b": 2, "c": 2}))
    'added c; changed b; removed a'
    """
    known = before.segments if before else {}
    found = {
        "added": sorted(header.segments.keys() - known.keys()),
        "changed": sorted(one for one, since in header.segments.items() if one in known and since == header.version),
        "removed": sorted(known.keys() - header.segments.keys()),
    }
    parts = []
    for kind, names in found.items():
        if names:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            parts.append(f"{kind} {', '.join(names[:5])}{more}")
    return "; ".join(parts) or "nothing but words"


# --- diff ---------------------------------------------------------------------------------------------------------


def _diff(args: argparse.Namespace) -> int:
    sides = [_side(text) for text in args.sides or [str(CATALOG)]]
    if len(sides) > 2 or sum(isinstance(one, Path) for one in sides) > 1:
        raise UserError("two sides can be compared, one of them rule files", "segue rules diff [PATH] [N] [N]")
    local = next((load_rules(one) for one in sides if isinstance(one, Path)), None)
    published = read_published(kafka_settings(args.settings, args.bootstrap))
    numbers = [one for one in sides if isinstance(one, int)]
    old = published.rule_set(numbers[0]) if numbers and (local or len(numbers) == 2) else published.rules
    new = local or published.rule_set(numbers[-1])
    path = next((one for one in sides if isinstance(one, Path)), None)
    return _show_diff(args, old, new, whole=path is None or path.is_dir())


def _side(text: str) -> int | Path:
    """A number is a version, unless a file or folder is called so."""
    path = Path(text)
    return int(text) if text.isdecimal() and not path.exists() else path


def _show_diff(args: argparse.Namespace, old: RuleSet | None, new: RuleSet, *, whole: bool = True, of: int = 0) -> int:
    """The difference between two rule sets; of a single file (not `whole`), what is not in it was not asked for."""
    changes = [change for change in diff(old, new) if whole or change.kind != "removed"]
    if args.json:
        write_json({"version": old.version if old else None, "changes": changes_as_json(changes)})
        return 0
    before = f"version {old.version}" if old else "nothing (no version is published)"
    if not changes:
        print(f"no difference to {before}")
        return 0
    if of:
        print(f"version {of} by {new.author or 'nobody named'}, {ago(new.created_at)}: {new.message}")
    print(f"compared with {before}: {summary(changes)}")
    print_changes(changes)
    return 0


# --- pull ---------------------------------------------------------------------------------------------------------


def _pull(args: argparse.Namespace) -> int:
    folder: Path = args.path
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{short(folder)} is no folder", "a rule set is pulled whole: name the folder")
    settings = kafka_settings(args.settings, args.bootstrap)
    published = read_published(settings)
    live = published.rules
    if live is None:
        raise UserError(f"topic {settings.topics.rules} holds no rules", "`segue rules apply` publishes some")
    found = merge(_base(folder, published), local_texts(folder), live.files)
    if found.conflicts and not args.force:
        raise UserError(
            f"changed here and in version {live.version}: {', '.join(found.conflicts[:10])}",
            f"`segue rules diff {short(folder)}` shows it; mend these files by hand or take the published ones with --force",
        )
    carry_out(folder, found)
    write_note(folder, live)
    if args.json:
        write_json({"version": live.version, "written": sorted(found.write), "deleted": found.delete})
        return 0
    print(
        f"version {live.version} is in {short(folder)}: {count(len(found.write), 'file')} written, {len(found.delete)} deleted"
    )
    for name in sorted([*found.write, *found.delete]):
        print(f"  {'deleted' if name in found.delete else 'written'}  {name}")
    kept = sorted(name for name, text in local_texts(folder).items() if live.files.get(name) != text)
    for name in kept:
        print(f"  yours    {name}")
    return 0


def _base(folder: Path, published: Published) -> Mapping[str, str]:
    """The files of the newest version that the folder descends from and the topic still holds; none if there is no such."""
    for seen in reversed(read_note(folder)):
        try:
            rules = RuleSet.from_payload(published.payloads[seen.version])
        except (KeyError, RuleErrors):
            continue
        if texts_digest(rules.files) == seen.digest:
            return rules.files
    print(
        f"{short(folder)} comes from no version that is published: files that differ are left to you", file=sys.stderr
    )
    return {}
