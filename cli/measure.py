"""`segue rules measure`: how the customers of a history are spread, for rules that compare a customer with all others."""

from __future__ import annotations

import argparse
from pathlib import Path

from cli.errors import UserError
from cli.history import Account, Share
from cli.progress import step
from cli.rule_files import AddAction, count, load_rules, short, write_json
from cli.trial import days_of, share_of, source_of
from rules.measure import measure, uses_scores
from rules.population import FILE


def add_actions(action: AddAction) -> None:
    """Adds `measure` to `segue rules`."""
    text = "measure how customers are spread, for `rfm` scores, and write it beside the rule files"
    parser = action("measure", run, text, kafka=True)
    parser.add_argument("--history", required=True, metavar="TOPIC|FILE", help="events: a topic, or CSV or JSON lines")
    parser.add_argument("--map", type=Path, metavar="MAP.yaml", help="field map of a file; without: SDK events")
    parser.add_argument(
        "--days", type=days_of, default=None, metavar="N|all", help="of the history's end; default: all"
    )
    parser.add_argument("--sample", type=share_of, default=1.0, metavar="10%", help="a share of the customers")


def run(args: argparse.Namespace) -> int:
    """Measures the population and writes `population.json`."""
    if not args.path.is_dir():
        raise UserError(f"{short(args.path)} is no folder", "what is measured belongs to a folder of rules: name it")
    rules = load_rules(args.path)
    if not any(map(uses_scores, rules.segments)):
        raise UserError("no rule compares customers with each other", "only `rfm` with scores needs to be measured")
    source = source_of(args)
    account = Account()
    with step(f"measuring the customers of {source.name}", quiet=args.json):
        found = measure(rules, source.events(account, Share(args.sample), args.days))
    if not found.bounds:
        raise UserError(f"{source.name} has no event that the rules measure", "is it the right history?")
    file = args.path / FILE
    try:
        file.write_text(found.to_text(), "utf-8")
    except OSError as error:
        raise UserError(f"{file} cannot be written: {error.strerror or error}") from None
    if args.json:
        write_json({**found.plain(), "file": str(file), "refused": account.refused.total()})
    else:
        print(f"{short(file)}: {count(found.customers, 'customer')}, {count(len(found.bounds), 'measure')}")
        print("`segue rules diff` says which segments that changes, `segue rules apply` publishes it")
    return 0
