"""From the text of a rule file to what it means: a `Segment`, and the tests that it brings along.

Everything that is wrong with a file is found at once, each with its line, column and a hint; a file is either understood
wholly or refused. What is understood but hardly meant is a warning.

>>> text = '''
... segment: vip
... when: {event: Order Completed, within: 30d, count: {gte: 3}}
... '''
>>> parse_rule(text, "vip.yaml").segment.when.within
2592000000
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Final

from profiles.document import DocumentError, Mapping, Node, load, suggestion
from rules import vocabulary
from rules.condition_reader import MOST_CONDITIONS, ConditionReader
from rules.definition import Condition, Exit, Group, Segment, Stability, Trait
from rules.errors import RuleError, RuleErrors, RuleWarning
from rules.permanence import is_permanent, rises_again
from rules.scenario import Scenario
from rules.scenario_parse import read_scenarios

LONGEST_SEGMENT_NAME: Final = 64
LONGEST_DESCRIPTION: Final = 4000

_SHARE: Final = re.compile(r"([0-9]{1,2}(?:\.[0-9]{1,4})?)%")
_NAME: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Rule:
    """One rule file, understood: the segment, its tests, and what may not have been meant.

    `at` is where its name stands (line, column), `asked` where it asks for other segments, `leaves` where each condition stands that
    looks at the customer.
    """

    segment: Segment
    scenarios: tuple[Scenario, ...]
    warnings: tuple[RuleWarning, ...]
    at: tuple[int, int] = (1, 1)
    asked: tuple[tuple[str, tuple[int, int]], ...] = ()
    leaves: tuple[tuple[Condition, tuple[int, int]], ...] = ()


def parse_rule(text: str, file: str) -> Rule:
    """The rule in `text`; `file` is for messages, and its name without `.yaml` must be the segment's.

    Raises `RuleErrors` with everything that is wrong.
    """
    try:
        document = load(text, file)
    except DocumentError as error:
        raise RuleErrors([RuleError(error.file, error.line, error.column, error.message, error.hint)]) from None
    parser = _Parser()
    segment, scenarios = parser.rule(document)
    if parser.errors:
        raise RuleErrors(parser.errors, parser.unlisted)
    asked = tuple((name, (node.line, node.column)) for name, node in parser.asked)
    leaves = tuple((condition, (node.line, node.column)) for condition, node in parser.leaves)
    return Rule(segment, scenarios, tuple(sorted(parser.warnings)), parser.at, asked, leaves)


def digest(segment: Segment) -> str:
    """What a segment means, as 16 hexadecimal digits: the same for all files that decide alike, word for word."""
    meaning = [segment.name, _canonical(segment.when), _canonical(segment.exit)]
    for name in ("stability", "group", "holdout", "zone"):
        value = getattr(segment, name)
        if value not in (None, 0, Stability()):
            meaning.append([name, _canonical(value)])
    canonical = json.dumps(meaning, ensure_ascii=True, separators=(",", ":"))
    return hashlib.blake2b(canonical.encode(), digest_size=8).hexdigest()


def _canonical(value: Any) -> Any:
    """A definition as plain lists. Defaults are left out, so that a field added later changes no digest."""
    if dataclasses.is_dataclass(value):
        found: list[Any] = [type(value).__name__]
        for field in dataclasses.fields(value):
            one = getattr(value, field.name)
            if one != field.default:
                plain = _canonical(one)
                # Tests are joined by `and`: their order means nothing.
                unordered = field.name in ("where", "tests", "counts")
                found.append([field.name, sorted(plain, key=json.dumps) if unordered else plain])
        return found
    if isinstance(value, tuple):
        return [_canonical(one) for one in value]
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


class _Parser(ConditionReader):
    """Reads one rule file."""

    def __init__(self) -> None:
        super().__init__()
        self.at = (1, 1)

    def rule(self, document: Node) -> tuple[Segment, tuple[Scenario, ...]]:
        nothing = Segment("", Trait(()))
        root = self.mapping(document, "a rule file", "it begins with `segment: <name>`")
        if root is None:
            return nothing, ()
        self.only(root, vocabulary.SEGMENT_KEYS)
        name = self.name(root)
        texts = {
            key: self.text(root[key], f"`{key}`", LONGEST_DESCRIPTION) if key in root else ""
            for key in ("name", "owner", "description")
        }
        when, exit_ = root.get("when"), root.get("exit")
        if when is None:
            self.wrong(
                root,
                "'when' is missing here",
                "say who is in the segment: `when: {event: Order Completed, within: 30d}`",
            )
            return nothing, ()
        condition = self.condition(when)
        if self.conditions > MOST_CONDITIONS:
            self.wrong(
                when, f"the rule has {self.conditions} conditions, more than {MOST_CONDITIONS}", "split the segment"
            )
        leaves = self.exit(exit_) if exit_ is not None else None
        if not self.errors and is_permanent(condition):
            self.warn_of_permanence(root.keys["when"], condition, leaves)
        stability = self.stability(root["stability"]) if "stability" in root else Stability()
        group = self.group(root["group"]) if "group" in root else None
        holdout = self.share(root["holdout"], "`holdout`") if "holdout" in root else 0.0
        backfill = self.duration(root["backfill"], "`backfill`") if "backfill" in root else None
        zone = self.zone(root["timezone"], "`timezone`") if "timezone" in root else None
        tests = root.get("tests")
        scenarios = read_scenarios(self, tests) if tests is not None else ()
        segment = Segment(
            name,
            condition,
            leaves,
            texts["name"] or name,
            texts["owner"],
            texts["description"],
            stability=stability,
            group=group,
            holdout=holdout,
            backfill=backfill,
            zone=zone,
            file=root.file,
        )
        return segment if self.errors else dataclasses.replace(segment, digest=digest(segment)), scenarios

    def warn_of_permanence(self, node: Node, condition: Condition, leaves: Exit | None) -> None:
        if leaves is None:
            hint = "add `within`, or an `exit`, unless this is meant"
            self.warn(node, "nobody ever leaves this segment: once true, the rule stays true", hint)
        elif not rises_again(condition):
            hint = "add `within`, so that the rule can become true anew, unless this is meant"
            self.warn(node, "nobody enters this segment a second time: once true, the rule stays true", hint)

    def name(self, root: Mapping) -> str:
        node = root.get("segment")
        if node is None:
            near = suggestion("segment", [key for key in root if key not in vocabulary.SEGMENT_KEYS])
            self.wrong(
                root, "'segment' is missing here", near if near.startswith("did") else "begin with `segment: <name>`"
            )
            return ""
        self.at = (node.line, node.column)
        name = self.text(node, "`segment`")
        if not name:
            return ""
        if not _NAME.fullmatch(name) or len(name) > LONGEST_SEGMENT_NAME:
            better = "-".join(re.findall(r"[a-z0-9]+", name.lower()))[:LONGEST_SEGMENT_NAME].strip("-")
            rule = f"must be 1 to {LONGEST_SEGMENT_NAME} small letters and digits, words joined by dashes"
            self.wrong(node, f"the name of a segment {rule}", f"for example {better!r}" if better else "")
            return ""
        stem = PurePath(node.file).name.removesuffix(".yaml")
        if stem != name:
            self.wrong(
                node, f"segment {name!r} stands in a file named {stem[:100]!r}", f"rename the file to {name}.yaml"
            )
        return name

    # --- how membership ends ----------------------------------------------------------------------------------------

    def exit(self, outer: Node) -> Exit | None:
        node = self.mapping(outer, "`exit`", "write `exit: {on: Order Completed, after: 72h}`")
        if node is None:
            return None
        self.only(node, vocabulary.EXIT_KEYS)
        if "on" not in node and "after" not in node:
            self.wrong(node, "`exit` needs 'on' or 'after'", "write `exit: {on: Order Completed, after: 72h}`")
        on = self.references(node["on"], "`on`") if "on" in node else ()
        after = self.duration(node["after"], "`after`") if "after" in node else None
        return Exit(on, after)

    # --- who decides besides the rule -------------------------------------------------------------------------------

    def stability(self, outer: Node) -> Stability:
        example = "write `stability: {enter_for: 10m, min_dwell: 1h, cooldown: 6h}`"
        node = self.mapping(outer, "`stability`", example)
        if node is None:
            return Stability()
        self.only(node, vocabulary.STABILITY_KEYS)
        if not len(node):
            self.wrong(node, "`stability` is empty", example)
        found = {
            key: 0 if node[key].plain() in ("0s", "0m") else self.duration(node[key], f"`{key}`")
            for key in vocabulary.STABILITY_KEYS
            if key in node
        }
        return Stability(**found)

    def group(self, outer: Node) -> Group | None:
        example = "write `group: {name: retention, priority: 20}`"
        node = self.mapping(outer, "`group`", example)
        if node is None:
            return None
        self.only(node, vocabulary.GROUP_KEYS)
        for key in vocabulary.GROUP_KEYS:
            if key not in node:
                self.wrong(node, f"{key!r} is missing here", example)
                return None
        name = self.text(node["name"], "`name`", LONGEST_SEGMENT_NAME)
        if name and not _NAME.fullmatch(name):
            self.wrong(node["name"], "the name of a group is small letters and digits, words joined by dashes")
        return Group(name, self.integer(node["priority"], "`priority`", 0, 1_000_000))

    def share(self, node: Node, what: str) -> float:
        """A share of all customers such as `5%`; 0 where it is wrong."""
        text = node.plain()
        found = _SHARE.fullmatch(text) if isinstance(text, str) else None
        if found is None or not 0 < float(found[1]) <= 50:
            self.wrong(node, f"{what} must be a share above 0% and up to 50%", f"write `{what.strip('`')}: 5%`")
            return 0.0
        return float(found[1]) / 100
