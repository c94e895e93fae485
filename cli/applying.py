"""`segue rules apply` and `rollback`: the next version, from a folder or from an older version, and the history of what is new in it."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cli.backfill import Backfill, Report
from cli.errors import UserError
from cli.origin import unseen, write_note
from cli.published import Applied, Published, apply_rules, prepare, publish_live, read_published, summary
from cli.rule_files import AddAction, ago, changes_as_json, check_plan, count, load_rules, short, user, write_json
from cli.rule_tests import print_tests, run_tests, tests_as_json
from cli.target import kafka_settings
from flink_jobs.settings import Settings
from rules.rule_set import RuleSet, diff


def add_actions(action: AddAction) -> None:
    """Adds the actions that publish."""
    apply = action(
        "apply",
        _apply,
        "check, test and publish the rules as the next version, and count the past of what is new",
        kafka=True,
    )
    apply.add_argument(
        "--resume", action="store_true", help="go on with a version that is still warming; publishes nothing new"
    )
    words = "publish also what undoes a version not seen here: where the folder alone counts, as in a pipeline"
    apply.add_argument("--replace", action="store_true", help=f"{words}; --force does, too")
    _add_options(apply)
    text = "publish the files of an older version as the next one"
    rollback = action("rollback", _rollback, text, kafka=True, takes_path=False)
    rollback.add_argument("version", type=int, metavar="N", help="the version whose files are to be published again")
    _add_options(rollback)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-m", "--message", help="what this version is about; default: what has changed")
    parser.add_argument("--author", help="who publishes it; default: the user's name")
    parser.add_argument("--no-tests", action="store_true", help="publish without running the tests")
    words = "publish even if wording alone has changed, or nothing"
    parser.add_argument("--force", action="store_true", help=words)
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--no-backfill", action="store_true", help="live at once: new segments begin with what comes from now on"
    )
    how.add_argument(
        "--detach", action="store_true", help="leave new segments warming; --resume counts their past later"
    )
    words = "take the past from this CSV or JSON-lines file, and from the events topic only what is newer"
    parser.add_argument("--history", type=Path, metavar="FILE", help=words)
    parser.add_argument("--map", type=Path, metavar="MAP.yaml", help="field map of --history")


# --- actions ------------------------------------------------------------------------------------------------------


def _apply(args: argparse.Namespace) -> int:
    _check_options(args)
    if args.resume:
        return _resume(args)
    if not args.path.is_dir():
        raise UserError(f"{short(args.path)} is no folder", "a rule set is published whole: name the folder")
    local = load_rules(args.path)
    passed = _tests_pass(args, local)
    if passed is None:
        return 1
    settings = kafka_settings(args.settings, args.bootstrap)
    published = prepare(settings)
    if not (args.force or args.replace) and unseen(args.path, local, published.rules, published.same_files()):
        assert published.rules is not None
        raise _not_seen(args.path, local, published.rules)
    return _publish(args, settings, local, published, args.message or "", passed, args.path)


def _not_seen(folder: Path, local: RuleSet, live: RuleSet) -> UserError:
    undone = summary(diff(live, local))
    by = f" by {live.author}" if live.author else ""
    about = f"version {live.version}{by} ({ago(live.created_at)}: {live.message})"
    return UserError(
        f"{about} was never in {short(folder)}; applying would undo it: {undone}",
        f"`segue rules pull {short(folder)}` brings it there and keeps your changes, `segue rules diff {short(folder)}` shows "
        "the difference, --replace publishes all the same",
    )


def _rollback(args: argparse.Namespace) -> int:
    _check_options(args)
    settings = kafka_settings(args.settings, args.bootstrap)
    published = prepare(settings)
    older = published.rule_set(args.version)
    check_plan(older, f"version {args.version}")
    passed = _tests_pass(args, older)
    if passed is None:
        return 1
    message = args.message or f"back to version {args.version}: {summary(diff(published.rules, older))}"
    return _publish(args, settings, older, published, message, passed, None)


def _resume(args: argparse.Namespace) -> int:
    settings = kafka_settings(args.settings, args.bootstrap)
    rules = read_published(settings).rules
    if rules is None or not rules.warming:
        what = f"version {rules.version} is live" if rules else "there is none"
        if args.json:
            write_json(
                {"published": False, "version": rules.version if rules else None, "state": "live", "changes": []}
            )
        else:
            print(f"no version is warming: {what}")
        return 0
    applied = Applied(rules, [], False)
    if not args.json:
        print(f"version {rules.version} is warming: {count(len(rules.warming), 'segment')}")
    return _follow_up(args, settings, applied)


# --- the work of several actions ----------------------------------------------------------------------------------


def _check_options(args: argparse.Namespace) -> None:
    if args.map is not None and args.history is None:
        raise UserError("--map says how to read --history, and there is none", "name the file with --history")
    if args.history is not None and (args.no_backfill or args.detach):
        raise UserError("--history says where the past is to be counted from", "leave out --no-backfill and --detach")
    if args.history is not None and not args.history.is_file():
        raise UserError(f"{args.history} is no file that exists")


def _tests_pass(args: argparse.Namespace, rules: RuleSet) -> int | None:
    """How many tests have passed; None, and said so, if one failed."""
    if args.no_tests:
        return 0
    results = run_tests(rules)
    if all(result.passed for result in results):
        return len(results)
    if args.json:
        write_json(tests_as_json(results))
    else:
        print_tests(rules, results)
        print("nothing was published", file=sys.stderr)
    return None


def _publish(
    args: argparse.Namespace,
    settings: Settings,
    local: RuleSet,
    published: Published,
    message: str,
    passed: int,
    folder: Path | None,
) -> int:
    """Publish the next version, say so, and count the history of what is new in it."""
    author = args.author or user()
    warming = not args.no_backfill
    applied = apply_rules(
        settings, local, author=author, message=message, force=args.force, warming=warming, published=published
    )
    if folder is not None:
        write_note(folder, applied.rules)
    if not args.json:
        tested = "not tested" if args.no_tests else f"{count(passed, 'test')} passed"
        _print_applied(applied, tested)
    return _follow_up(args, settings, applied)


def _print_applied(applied: Applied, tested: str) -> None:
    rules, changes = applied.rules, applied.changes
    if not applied.published:
        differ = f"; {count(len(changes), 'file')} worded differently (--force publishes)" if changes else ""
        print(f"nothing changed: version {rules.version} means the same{differ}")
        return
    print(f"version {rules.version} published: {count(len(rules.segments), 'segment')}, {tested}")
    for change in changes:
        print(f"  {change.kind:<8} {change.segment}{'  (warming)' if change.segment in rules.warming else ''}")


def _follow_up(args: argparse.Namespace, settings: Settings, applied: Applied) -> int:
    """Make live what is warming, unless that was not wanted; the exit code."""
    rules = applied.rules
    found: dict[str, Any] = {
        "published": applied.published,
        "version": rules.version,
        "state": "warming" if rules.warming else "live",
        "changes": changes_as_json(applied.changes),
    }
    code = 0
    if rules.warming and args.detach:
        if not args.json:
            print(f"version {rules.version} stays warming until its past is counted: `segue rules apply --resume`")
    elif rules.warming and not args.no_backfill:
        with _interruptible(rules, quiet=args.json) as report:
            counted = Backfill(settings, rules, report, history=args.history, field_map=args.map).run()
            found |= {"state": "live", "backfill": counted.as_json() if counted else None}
            if not args.json:
                print(f"version {rules.version} is live")
        code = 130 if report.interrupted else 0
    elif rules.warming:
        publish_live(settings, rules)
        found |= {"state": "live"}
        if not args.json:
            print(f"version {rules.version} was warming, and is live now without its past")
    if args.json:
        write_json(found)
    return code


@contextlib.contextmanager
def _interruptible(rules: RuleSet, *, quiet: bool) -> Iterator[Report]:
    """Whoever stops here is told what the job does from then on."""
    with Report(quiet=quiet) as report:
        try:
            yield report
        except KeyboardInterrupt:
            report.interrupted = True
            names = ", ".join(sorted(rules.warming)[:5])
            print(
                f"\nsegue: version {rules.version} stays warming: the job goes on with the segments as they were ({names})\n"
                "       `segue rules apply --resume` goes on with it",
                file=sys.stderr,
            )
