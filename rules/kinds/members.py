"""`segment`: membership of another segment, which is evaluated before this one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from profiles.document import Mapping, Scalar
from profiles.profile import NEVER, Profile
from rules.compiled import NO, YES, Compiled, moment
from rules.definition import Condition, Member
from rules.duration import format_duration
from rules.kinds.kind import Key, Kind

if TYPE_CHECKING:
    from rules.compiler import Compiler
    from rules.condition_reader import ConditionReader


def _read(reader: ConditionReader, outer: Mapping) -> Condition:
    if not isinstance(outer["segment"], Scalar):
        reader.wrong(outer["segment"], "`segment` is the name of a segment", "write `segment: vip`")
        return Member("")
    name = reader.text(outer["segment"], "`segment`", 64)
    at_least = reader.duration(outer["at_least_for"], "`at_least_for`") if "at_least_for" in outer else None
    within = reader.duration(outer["entered_within"], "`entered_within`") if "entered_within" in outer else None
    if at_least is not None and within is not None and within <= at_least:
        reader.wrong(
            outer.keys["entered_within"],
            "nobody who entered within this time has been in for `at_least_for`",
            "give `entered_within` the longer time",
        )
    reader.asked.append((name, outer["segment"]))
    return Member(name, at_least, within)


def _compile(compiler: Compiler, one: Member) -> Compiled:
    name, least, most = one.segment, one.at_least or 0, NEVER if one.within is None else one.within

    def evaluate(profile: Profile, clock: int) -> tuple[bool, int]:
        entry = profile.segments.get(name)
        if entry is None or not entry[0]:
            return NO
        passed = clock - entry[0]
        if passed < least:
            return False, entry[0] + least
        if most == NEVER:
            return YES
        return (True, entry[0] + most) if passed < most else NO

    def measure(profile: Profile, clock: int) -> Any:
        entry = profile.segments.get(name)
        return f"in since {moment(entry[0])}" if entry is not None and entry[0] else "out"

    threshold: Any = "in"
    if one.at_least is not None or one.within is not None:
        threshold = {
            **({"at_least_for": format_duration(one.at_least)} if one.at_least is not None else {}),
            **({"entered_within": format_duration(one.within)} if one.within is not None else {}),
        }
    return Compiled(f"segment {name}", evaluate, members=frozenset((name,)), measure=measure, threshold=threshold)


MEMBER: Final = Kind(
    "segment",
    "The customer is in another segment.",
    "segment: vip\nat_least_for: 30d",
    "text",
    _read,
    _compile,
    (Member,),
    beside=(
        Key("at_least_for", "duration", "and has been in it for so long"),
        Key("entered_within", "duration", "and entered it so lately"),
    ),
)

KINDS: Final = (MEMBER,)
