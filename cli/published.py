"""What is on the rules topic, and putting the next version there.

A rule set is one record, under a key of its own (its version), so that compaction keeps every version.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cli.errors import UserError
from cli.kafka import ensure_topic, publish, read_topic
from flink_jobs.settings import Settings
from rules.rule_set import Header, RuleSet, SegmentDiff, diff, newest_valid, next_version

if TYPE_CHECKING:
    from flink_jobs.topics import Record


@dataclass(frozen=True)
class Published:
    """What the rules topic holds: the newest rule set that is valid, and the header of each version."""

    rules: RuleSet | None
    headers: tuple[Header, ...]

    @property
    def highest(self) -> int:
        """The highest version there is, valid or not; 0 for none."""
        return max((header.version for header in self.headers), default=0)

    def base(self) -> RuleSet | None:
        """What the next version follows. A version once used is not used again, even if it was refused."""
        if self.rules is None:
            return RuleSet(self.highest, ()) if self.highest else None
        return dataclasses.replace(self.rules, version=self.highest)


def read_published(settings: Settings) -> Published:
    """What is on the rules topic. Only the newest valid version is parsed: there may be hundreds."""
    records = read_topic(settings, settings.topics.rules)
    return Published(*newest_valid(record.value for record in records if record.value is not None))


def publish_rules(settings: Settings, rules: RuleSet, *, after: Published) -> Record:
    """Write a rule set, unless somebody published since `after` was read. It must have been checked."""
    payload = rules.to_payload()
    topic, key = settings.topics.rules, f"{rules.version:08d}".encode()
    highest = max((header.version for header in read_published(settings).headers), default=0)
    if highest != after.highest:
        raise UserError(
            f"somebody else has just published version {highest}",
            "look at it with `segue rules diff`, then apply again",
        )
    written = publish(settings, topic, key, payload)
    # Kafka cannot write on condition: two that wrote within the same moment both find out here.
    others = [one for one in read_topic(settings, topic) if one.key == key and one.offset != written.offset]
    if others:
        raise UserError(
            f"somebody else published version {rules.version} at the same moment",
            "agree on the rules, then apply again with --force",
        )
    return written


def summary(changes: list[SegmentDiff]) -> str:
    """What changes do, in a line.

    >>> summary([SegmentDiff("vip", "added", ""), SegmentDiff("new", "changed", "")])
    'added vip; changed new'
    """
    parts = []
    for kind in ("added", "changed", "removed", "reworded"):
        names = [change.segment for change in changes if change.kind == kind]
        if names:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            parts.append(f"{kind} {', '.join(names[:5])}{more}")
    return "; ".join(parts) or "nothing changed"


@dataclass(frozen=True)
class Applied:
    """What came of applying: the rule set that is now the newest, and what it changed. Not `published`: it was so before."""

    rules: RuleSet
    changes: list[SegmentDiff]
    published: bool


def apply_rules(settings: Settings, local: RuleSet, *, author: str, message: str = "", force: bool = False) -> Applied:
    """Publish `local`, which must have been checked, as the next version, unless the newest means the same already.

    Raises `UserError` without Kafka, or where somebody else publishes meanwhile.
    """
    for difference in ensure_topic(settings, settings.topics.rules):
        print(f"warning: {difference}", file=sys.stderr)
    published = read_published(settings)
    before = published.rules
    changes = diff(before, local)
    if before is not None and before.digests == local.digests and not force:
        return Applied(before, changes, False)
    candidate = dataclasses.replace(
        next_version(published.base(), local),
        created_at=int(time.time() * 1000),
        author=author,
        message=message or summary(changes),
    )
    publish_rules(settings, candidate, after=published)
    return Applied(candidate, changes, True)
