"""A rule set: all segments at one version, applied as a whole; how it is read from files and how it travels.

A rule set travels as the text of its files, so that whoever receives it (the job, a colleague's `segue rules diff`) reads
and validates it anew, and so that nothing of it is lost that a person wrote.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

import msgspec

from profiles.document import MAX_BYTES, suggestion
from rules.definition import Segment
from rules.difference import SegmentDiff, diff
from rules.errors import RuleError, RuleErrors, RuleWarning
from rules.measured import as_measured
from rules.order import CycleError, evaluation_order
from rules.parse import Rule, parse_rule
from rules.payload import (
    FORMAT,
    MOST_FILES,
    MOST_PAYLOAD,
    SET,
    Header,
    Payload,
    check_payload,
    code_of,
    decode_payload,
    encode_payload,
    read_header,
    refused,
)
from rules.population import FILE as POPULATION_FILE
from rules.population import Population, population_of, read_population
from rules.project import FILE as PROJECT_FILE
from rules.project import NO_PROJECT, Project, in_zone, read_project
from rules.scenario import Scenario

if TYPE_CHECKING:
    from rules.plan import Plan

__all__ = [
    "Header",
    "RuleError",
    "RuleErrors",
    "RuleSet",
    "RuleWarning",
    "SegmentDiff",
    "diff",
    "load_directory",
    "load_file",
    "next_version",
    "read_header",
    "warm",
]

T = TypeVar("T")


@dataclass(frozen=True)
class RuleSet:
    """All segments, ordered by name, and the text of the files they came from.

    `created_at` is in epoch milliseconds (0: not published), `sources` maps file names to texts. `scenarios` are the tests
    by segment, `warnings` what the files say that was hardly meant.

    `warming` names the segments that are new or mean something else, each with the text that its file had before (None: it is
    new), and `meant_since` has the versions of those texts. Until the history of these segments has been counted, customers are
    evaluated under `active`; then the same version is published again without `warming`. `interim`: this is such an `active` one.

    `population` is what scores compare customers with; empty until it has been measured. `project` is what holds for all rules;
    `meant_in` has the time zone of the project in which a warming segment meant what it did, where that was another. `models` maps names
    of model files to their texts, which nobody here reads.
    """

    version: int
    segments: tuple[Segment, ...]
    created_at: int = 0
    author: str = ""
    message: str = ""
    sources: Mapping[str, str] = field(default_factory=dict)
    scenarios: Mapping[str, tuple[Scenario, ...]] = field(default_factory=dict, compare=False, repr=False)
    warnings: tuple[RuleWarning, ...] = field(default=(), compare=False, repr=False)
    warming: Mapping[str, str | None] = field(default_factory=dict)
    meant_since: Mapping[str, int] = field(default_factory=dict)
    interim: bool = False
    population: Population = field(default_factory=Population)
    project: Project = NO_PROJECT
    meant_in: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)

    @property
    def stage(self) -> int:
        """0 while segments are warming, 1 once the rule set is live. Rule sets are ordered by version, then by stage."""
        return 0 if self.warming or self.interim else 1

    @property
    def code(self) -> int:
        """Version and stage as one number, in their order: what a profile remembers of the rules that evaluated it."""
        return code_of(self.version, self.stage)

    @cached_property
    def active(self) -> RuleSet:
        """What customers are evaluated under: all of it, but warming segments as they were before, and new ones not yet.

        Raises `RuleErrors` where what was before is not valid, or not together with the rest.
        """
        return _interim(self) if self.warming else self

    @cached_property
    def plan(self) -> Plan:
        """The compiled rules; made at first use."""
        from rules.compiler import compile_plan

        return compile_plan(self.segments, population=self.population)

    @cached_property
    def digests(self) -> dict[str, str]:
        """What each segment means, by name."""
        return {segment.name: segment.digest for segment in self.segments}

    @cached_property
    def texts(self) -> dict[str, str]:
        """The text of each segment's file, by the segment's name."""
        return {_stem(file): text for file, text in self.sources.items()}

    @property
    def files(self) -> dict[str, str]:
        """Every file that a folder of this rule set holds, by name: those of the segments, the measured population, the project's."""
        measured = {POPULATION_FILE: self.population.to_text()} if self.population.bounds else {}
        project = {PROJECT_FILE: self.project.text} if self.project.text else {}
        return {**self.sources, **measured, **project}

    def to_payload(self) -> bytes:
        """The rule set as JSON in UTF-8; `RuleErrors` if it is too large to be published."""
        payload = encode_payload(
            Payload(
                FORMAT,
                self.version,
                self.created_at,
                self.author,
                self.message,
                {segment.name: segment.version for segment in self.segments},
                dict(sorted(self.sources.items())),
                dict(sorted(self.warming.items())),
                {name: self.meant_since[name] for name in sorted(self.warming.keys() & self.meant_since.keys())},
                self.population.plain() if self.population.bounds else None,
                self.project.text,
                {name: self.meant_in[name] for name in sorted(self.warming.keys() & self.meant_in.keys())},
                models=dict(sorted(self.models.items())),
            )
        )
        if len(payload) > MOST_PAYLOAD:
            raise refused(f"the rule set has {len(payload):,} bytes, more than {MOST_PAYLOAD:,}")
        return payload

    @staticmethod
    def from_payload(payload: bytes) -> RuleSet:
        """The rule set in `payload`, validated as if its files had just been written.

        Raises `RuleErrors` with everything that is wrong, and nothing else, whatever the bytes are.
        """
        if len(payload) > MOST_PAYLOAD:
            raise refused(f"the rule set has {len(payload):,} bytes, more than {MOST_PAYLOAD:,}")
        try:
            found = decode_payload(payload)
        except msgspec.ValidationError as error:
            raise refused(f"this is no rule set: {error}"[:300]) from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise refused("this is no rule set: it is not JSON in UTF-8") from None
        except RecursionError:
            raise refused("this is no rule set: nested too deeply") from None
        check_payload(found)
        rules = _parse_all({file: (file, text) for file, text in found.files.items()})
        names = {rule.segment.name for rule in rules}
        if names != found.segments.keys():
            differ = sorted(names ^ found.segments.keys())
            raise refused(f"`segments` and `files` do not name the same segments: {', '.join(differ)[:200]}")
        for name, version in found.segments.items():
            if not 1 <= version <= found.version:
                raise refused(f"segment {name!r} has version {version}, which is not one from 1 to {found.version}")
        population = Population() if found.population is None else population_of(found.population, SET)
        project = read_project(found.project, PROJECT_FILE) if found.project else NO_PROJECT
        rule_set = _assemble(found.version, rules, found.files, found.segments, population, project)
        rule_set = dataclasses.replace(
            rule_set,
            created_at=found.created_at,
            author=found.author,
            message=found.message,
            warming=found.warming,
            meant_since=found.meant_since,
            meant_in=found.meant_in,
            models=found.models,
        )
        if foreign := sorted(found.warming.keys() - names):
            raise refused(f"`warming` names segments that are not among the rest: {', '.join(foreign)[:200]}")
        _ = rule_set.active  # what it stands for meanwhile must be valid too
        return rule_set


def newest_valid(payloads: Iterable[bytes]) -> tuple[RuleSet | None, tuple[Header, ...]]:
    """The valid rule set with the highest version, and the headers of all. Only the newest is parsed: there may be hundreds.

    Of one version the live one counts, not the warming one that it has replaced.
    """
    found: dict[int, tuple[Header, bytes]] = {}
    for payload in payloads:
        header = read_header(payload)
        if header is not None and (header.version not in found or header.stage >= found[header.version][0].stage):
            found[header.version] = (header, payload)
    headers = tuple(header for header, _ in found.values())
    for version in sorted(found, reverse=True):
        try:
            return RuleSet.from_payload(found[version][1]), headers
        except RuleErrors:
            continue  # the job refuses it as well, and runs on with an older one
    return None, headers


def load_directory(path: Path) -> RuleSet:
    """The rule set in a directory's `*.yaml` files (folders within it too), as version 1.

    Raises `RuleErrors` with everything that is wrong in any of them.
    """
    if not path.is_dir():
        raise RuleErrors(
            [RuleError(str(path), 1, 1, "there is no such directory", "name the folder of the rule files")]
        )
    errors: list[RuleError] = []
    texts: dict[str, tuple[str, str]] = {}
    for file in sorted(path.rglob("*")):
        inner = file.relative_to(path)
        if any(part.startswith(".") for part in inner.parts) or not file.is_file():
            continue
        if file.suffix in (".yml", ".YAML", ".YML"):
            errors.append(RuleError(str(file), 1, 1, "a rule file ends in .yaml", f"rename it to {file.stem}.yaml"))
        elif inner.name == PROJECT_FILE and len(inner.parts) > 1:
            hint = f"move it to {path / PROJECT_FILE}"
            errors.append(
                RuleError(str(file), 1, 1, "the project's file stands beside the rules, not in a folder", hint)
            )
        elif file.suffix == ".yaml" and inner.name != PROJECT_FILE:
            try:
                texts[inner.as_posix()] = (str(file), read_rule_file(file))
            except RuleErrors as error:
                errors += error.errors
    if not texts and not errors:
        raise RuleErrors(
            [RuleError(str(path), 1, 1, "there is no rule file in this directory", "rule files end in .yaml")]
        )
    if len(texts) > MOST_FILES:
        raise RuleErrors([RuleError(str(path), 1, 1, f"{len(texts):,} rule files are more than {MOST_FILES:,}")])
    population, project = _beside(path, errors)
    rules = _parse_all(texts, errors)
    return _assemble(1, rules, {inner: text for inner, (_, text) in texts.items()}, {}, population, project)


def load_file(file: Path) -> RuleSet:
    """The rule set of one file alone, as version 1, in the population and the project beside it; for a rule that one is writing."""
    errors: list[RuleError] = []
    population, project = _beside(file.parent, errors)
    rules = _parse_all({file.name: (str(file), text := read_rule_file(file))}, errors, whole=False)
    found = _assemble(1, rules, {file.name: text}, {}, population, project)
    missing = tuple(RuleWarning(one.file, one.line, one.column, one.message, one.hint) for one in _unknown(rules))
    return dataclasses.replace(found, warnings=tuple(sorted((*found.warnings, *missing))))


def _beside(folder: Path, errors: list[RuleError]) -> tuple[Population, Project]:
    """The population and the project in a folder of rules; what is wrong with their files is added to `errors`."""
    population = _read_beside(folder / POPULATION_FILE, read_population, Population(), errors)
    return population, _read_beside(folder / PROJECT_FILE, read_project, NO_PROJECT, errors)


def _read_beside(file: Path, read: Callable[[str, str], T], absent: T, errors: list[RuleError]) -> T:
    if file.is_file():
        try:
            return read(read_rule_file(file), str(file))
        except RuleErrors as error:
            errors += error.errors
    return absent


def read_rule_file(file: Path) -> str:
    """The text of a rule file; `RuleErrors` where it cannot be read, is too large or is not UTF-8."""
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 4)
    except OSError as error:
        raise RuleErrors([RuleError(str(file), 1, 1, f"the file cannot be read: {error.strerror}")]) from None
    if len(data) > MAX_BYTES + 3:
        raise RuleErrors([RuleError(str(file), 1, 1, f"the file has more than {MAX_BYTES:,} bytes", "split it")])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8", "replace")
        line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
        message = "this byte is not UTF-8"
        raise RuleErrors([RuleError(str(file), line, column, message, "save the file as UTF-8")]) from None


def _parse_all(
    texts: Mapping[str, tuple[str, str]], errors: Iterable[RuleError] = (), whole: bool = True
) -> list[Rule]:
    """Every file parsed, each given by what it is called in messages and its text; all errors of all files at once.

    `whole`: this is all there is, so that nobody may ask for a segment that is not among them.
    """
    found, more = list(errors), 0
    rules: list[Rule] = []
    by_name: dict[str, str] = {}
    for shown, text in texts.values():
        try:
            rule = parse_rule(text, shown)
        except RuleErrors as refused:
            found += refused.errors
            more += refused.more
            continue
        name, at = rule.segment.name, rule.at
        if name in by_name:
            found.append(RuleError(shown, *at, f"segment {name!r} is there twice", f"the other is in {by_name[name]}"))
        by_name.setdefault(name, f"{shown}:{at[0]}:{at[1]}")
        rules.append(rule)
    found += () if found else _together(rules)
    found += _unknown(rules) if whole and not found else ()
    if found:
        raise RuleErrors(found, more)
    return rules


def _together(rules: list[Rule]) -> Iterator[RuleError]:
    """What is wrong with rules that are right each for itself: circles, and two of one rank in a group."""
    try:
        evaluation_order(rule.segment for rule in rules)
    except CycleError as error:
        rule = next(rule for rule in rules if rule.segment.name == error.names[0])
        at = next((at for name, at in rule.asked if name == error.names[1 % len(error.names)]), rule.at)
        yield RuleError(
            rule.segment.file, *at, str(error), "a segment of a group may not ask for another of that group"
        )
    ranks: dict[tuple[str, int], str] = {}
    for rule in rules:
        group = rule.segment.group
        if group is not None:
            first = ranks.setdefault((group.name, group.priority), rule.segment.name)
            if first != rule.segment.name:
                message = f"segments {first!r} and {rule.segment.name!r} of group {group.name!r} have one priority"
                yield RuleError(
                    rule.segment.file, *rule.at, message, "give each segment of a group a priority of its own"
                )


def _unknown(rules: list[Rule]) -> Iterator[RuleError]:
    """Where rules ask for segments that are not there."""
    names = {rule.segment.name for rule in rules}
    for rule in rules:
        for name, at in rule.asked:
            if name and name not in names:
                hint = (
                    suggestion(name[:100], sorted(names - {rule.segment.name}))
                    or "nobody is in a segment without a file"
                )
                yield RuleError(rule.segment.file, *at, f"there is no segment {name[:100]!r}", hint)


def _assemble(
    version: int,
    rules: list[Rule],
    sources: Mapping[str, str],
    versions: Mapping[str, int],
    population: Population,
    project: Project,
    meant_in: Mapping[str, str] = MappingProxyType({}),
) -> RuleSet:
    def meant(segment: Segment) -> Segment:
        return as_measured(in_zone(segment, meant_in.get(segment.name, project.zone)), population)

    segments = [dataclasses.replace(rule.segment, version=versions.get(rule.segment.name, version)) for rule in rules]
    return RuleSet(
        version,
        tuple(sorted(map(meant, segments), key=lambda segment: segment.name)),
        sources=dict(sources),
        scenarios={rule.segment.name: rule.scenarios for rule in rules},
        population=population,
        project=project,
        warnings=tuple(warning for rule in rules for warning in rule.warnings),
    )


def next_version(previous: RuleSet | None, candidate: RuleSet) -> RuleSet:
    """`candidate` as the version that follows `previous`. A segment that means what it meant keeps its version."""
    version = previous.version + 1 if previous else 1
    known = {segment.name: segment for segment in previous.segments} if previous else {}

    def since(segment: Segment) -> int:
        before = known.get(segment.name)
        return before.version if before is not None and before.digest == segment.digest else version

    segments = tuple(dataclasses.replace(segment, version=since(segment)) for segment in candidate.segments)
    return dataclasses.replace(candidate, version=version, segments=segments)


def warm(previous: RuleSet | None, candidate: RuleSet) -> RuleSet:
    """`candidate` with every segment warming that is new or means something else than in `previous`, the rule set in force.

    Without a previous one everything is new. Where nothing is, the answer is live.
    """
    before = {segment.name: segment for segment in previous.segments} if previous else {}
    texts = previous.texts if previous else {}
    meant = {name: one.digest for name, one in before.items()}
    changed = [name for name, digest in candidate.digests.items() if meant.get(name) != digest]
    known = [name for name in changed if name in before]
    zones = {name: previous.meant_in.get(name, previous.project.zone) for name in known} if previous else {}
    return dataclasses.replace(
        candidate,
        warming={name: texts.get(name) for name in changed},
        meant_since={name: before[name].version for name in known},
        meant_in={name: zone for name, zone in zones.items() if zone != candidate.project.zone},
    )


def _interim(rule_set: RuleSet) -> RuleSet:
    """The rule set without the warming segments but for what those that are older meant before."""
    before = {f"{name}.yaml": text for name, text in rule_set.warming.items() if text is not None}
    kept = {file: text for file, text in rule_set.sources.items() if _stem(file) not in rule_set.warming}
    sources = {**kept, **before}
    rules = _parse_all({file: (file, text) for file, text in sources.items()}, whole=False)
    versions = {one.name: one.version for one in rule_set.segments}
    for name in rule_set.warming:
        versions[name] = rule_set.meant_since.get(name, max(1, rule_set.version - 1))
    meanwhile = _assemble(
        rule_set.version, rules, sources, versions, rule_set.population, rule_set.project, rule_set.meant_in
    )
    return dataclasses.replace(meanwhile, meant_in=rule_set.meant_in, models=rule_set.models, interim=True)


def _stem(file: str) -> str:
    return PurePath(file).name.removesuffix(".yaml")
