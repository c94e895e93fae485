"""What is on the rules topic, and putting the next version there.

A rule set is one record, under a key of its own (its version), so that compaction keeps every version.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cli.errors import UserError
from cli.kafka import ensure_topic, publish, read_topic
from flink_jobs.settings import Settings
from rules.errors import RuleErrors
from rules.payload import decode_payload
from rules.rule_set import Header, RuleSet, SegmentDiff, diff, newest_valid, next_version, read_header, warm

if TYPE_CHECKING:
    from flink_jobs.topics import Record


@dataclass(frozen=True)
class Published:
    """What the rules topic holds: the newest rule set that is valid, the header of each version, and all as they were written."""

    rules: RuleSet | None
    headers: tuple[Header, ...]
    payloads: Mapping[int, bytes] = field(default_factory=dict, repr=False)

    @property
    def highest(self) -> int:
        """The highest version there is, valid or not; 0 for none."""
        return max((header.version for header in self.headers), default=0)

    def base(self) -> RuleSet | None:
        """What the next version follows. A version once used is not used again, even if it was refused."""
        if self.rules is None:
            return RuleSet(self.highest, ()) if self.highest else None
        return dataclasses.replace(self.rules, version=self.highest)

    def same_files(self) -> list[int]:
        """The versions up to the newest valid one, without a gap, that have its rule files: what came since changed models alone."""
        if self.rules is None:
            return []
        wanted = _files(self.payloads[self.rules.version])
        found = []
        for version in sorted((one for one in self.payloads if one <= self.rules.version), reverse=True):
            if _files(self.payloads[version]) != wanted:
                break
            found.append(version)
        return found

    def rule_set(self, version: int) -> RuleSet:
        """The rule set of one version; `UserError` if the topic does not hold it, or this build refuses it."""
        if version not in self.payloads:
            there = sorted(self.payloads)
            known = f"it holds {there[0]} to {there[-1]}" if there else "it holds none"
            raise UserError(f"the rules topic does not hold version {version}", f"{known}: `segue rules history`")
        try:
            return RuleSet.from_payload(self.payloads[version])
        except RuleErrors as refused:
            first = refused.errors[0]
            raise UserError(f"version {version} is not valid: {first.file}:{first.line}: {first.message}") from None

    def before(self, version: int) -> RuleSet | None:
        """The newest valid rule set below a version, which is what the job ran before that one."""
        for number in sorted((one for one in self.payloads if one < version), reverse=True):
            try:
                return RuleSet.from_payload(self.payloads[number])
            except RuleErrors:
                continue
        return None


def _files(payload: bytes) -> tuple[Any, ...]:
    """All that a folder of rules holds, as it was published."""
    found = decode_payload(payload)
    return found.files, found.population, found.project


def read_published(settings: Settings) -> Published:
    """What is on the rules topic. Only the newest valid version is parsed: there may be hundreds."""
    values = [one.value for one in read_topic(settings, settings.topics.rules) if one.value is not None]
    rules, headers = newest_valid(values)
    stages = {header.version: header.stage for header in headers}
    found = {
        header.version: value
        for value in values
        if (header := read_header(value)) and header.stage == stages[header.version]
    }
    return Published(rules, headers, found)


def highest_version(settings: Settings) -> int:
    """The highest version on the rules topic, valid or not; 0 for none. No rule is looked at."""
    values = [one.value for one in read_topic(settings, settings.topics.rules) if one.value is not None]
    return max((header.version for value in values if (header := read_header(value)) is not None), default=0)


def publish_rules(settings: Settings, rules: RuleSet, *, after: Published) -> Record:
    """Write a rule set, unless somebody published since `after` was read. It must have been checked."""
    payload = rules.to_payload()
    topic, key = settings.topics.rules, _key(rules)
    highest = highest_version(settings)
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


def apply_rules(
    settings: Settings,
    local: RuleSet,
    *,
    author: str,
    message: str = "",
    force: bool = False,
    warming: bool = False,
    published: Published | None = None,
    models: Mapping[str, str] | None = None,
) -> Applied:
    """Publish `local`, which must have been checked, as the next version, unless the newest means the same already.

    Models stay as they are published, whatever `local` says of them (`models` are the files to publish in their place); only the first
    version of all takes those of `local`.

    With `warming`, segments that are new or mean something else wait for their history to be counted (`cli.backfill`), unless it is
    the first version of all: there is nothing yet for which they could be late. `published` is what was on the topic when `local`
    was found fit to follow it; without, it is read now. Raises `UserError` without Kafka, or where somebody else publishes meanwhile.
    """
    if published is None:
        published = prepare(settings)
    before = published.rules
    changes = diff(before, local)
    if models is None:
        models = before.models if before is not None else local.models
    # The meaning of rules has the zone in it; models are read in that of the project.
    moved = bool(models) and before is not None and before.project.zone != local.project.zone
    same = before is not None and before.digests == local.digests and before.models == models and not moved
    if before is not None and same and not force:
        return Applied(before, changes, False)
    candidate = dataclasses.replace(
        next_version(published.base(), local),
        models=models,
        created_at=int(time.time() * 1000),
        author=author,
        message=message or summary(changes),
    )
    if warming and before is not None:
        candidate = warmed(before, candidate)
    publish_rules(settings, candidate, after=published)
    return Applied(candidate, changes, True)


def prepare(settings: Settings) -> Published:
    """What is on the rules topic, which is made if it is missing."""
    for difference in ensure_topic(settings, settings.topics.rules):
        print(f"warning: {difference}", file=sys.stderr)
    return read_published(settings)


def warmed(before: RuleSet, candidate: RuleSet) -> RuleSet:
    """`candidate` with those segments warming that customers do not have yet: what is warming in `before` is not in force either."""
    found = warm(before.active, candidate)
    try:
        _ = found.active
    except RuleErrors as refused:
        names = ", ".join(sorted(found.warming))
        raise UserError(
            f"what {names} meant before cannot stand beside the new rules: {refused.errors[0].message}",
            "`--no-backfill` publishes them at once, without their past",
        ) from None
    return found


def publish_live(settings: Settings, rules: RuleSet) -> RuleSet:
    """Publish a warming version again as live, in its own place; `UserError` if it is not the newest any more."""
    highest = highest_version(settings)
    if highest != rules.version:
        raise superseded(rules.version, highest)
    live = dataclasses.replace(rules, warming={}, meant_since={}, meant_in={})
    publish(settings, settings.topics.rules, _key(live), live.to_payload())
    return live


def superseded(version: int, by: int) -> UserError:
    """Somebody has published another version while this one was warming."""
    return UserError(
        f"version {by} was published while version {version} was warming: it takes over",
        "what was still warming is so in the new version, too: whoever published it counts its history, or `segue rules apply --resume`",
    )


def _key(rules: RuleSet) -> bytes:
    """The key of a version's record, in both of its stages."""
    return f"{rules.version:08d}".encode()
