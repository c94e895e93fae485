"""Features that are a word: the newest value, the most frequent one, a trait; and traits that are numbers."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Any, Final

from online_models.features.kind import LONGEST_VALUE, Attached, Column, Encode, FeatureKind, Read, one_category
from online_models.features.reading import AS, ENCODE, Line, event_keys, within_key
from profiles.profile import NEVER, Profile
from profiles.values import MICROS, identity, micros
from rules.calendar import DAY
from rules.compiler import Compiler
from rules.condition_reader import LONGEST_TRAIT
from rules.definition import ANY_EVENT, EventRef, Operator, Test
from rules.kinds.context import newest_at
from rules.kinds.kind import Key
from rules.newest import Newest
from rules.slots import Keyed

_MARK: Final = 9
"""The checksum at the end of a text that `identity` has cut off."""

TOP_VALUES: Final = 16
TOP_TIMES: Final = 16


def word(value: Any) -> str | None:
    """The value as a category: what it reads as, cut off where it is long with a checksum at the end; None for lists, objects and nothing.

    >>> word("mobile"), word(17.0), word(True), word([1]), len(word("x" * 300))
    ('mobile', '17', 'true', None, 100)
    """
    if type(value) is str and len(value) <= LONGEST_VALUE:
        return value
    text = identity(value)
    return text if text is None or len(text) <= LONGEST_VALUE else _cut(text)


def _cut(text: str) -> str:
    """A text of `identity` that is longer than categories are, shorter, with its checksum."""
    return text[: LONGEST_VALUE - _MARK] + text[-_MARK:]


# --- the newest -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NewestWord:
    """Parameters of `category`; `within` None is ever."""

    path: str
    ref: EventRef
    within: int | None
    encode: Encode = "onehot"


def _attach_newest(compiler: Compiler, one: NewestWord) -> Attached:
    window, every = NEVER if one.within is None else one.within, one.within is not None
    if one.ref == EventRef(ANY_EVENT):
        key = newest_at(compiler, one.path, window, every)
    else:
        saying = EventRef(one.ref.event, (*one.ref.where, Test(one.path, Operator.EXISTS, True)), one.ref.during)
        make = lambda key: Newest(key, window, one.path, every=every)  # noqa: E731
        key = compiler.slot("newest of", saying, (one.path, window), make).key

    def read(profile: Profile, clock: int) -> str | None:
        state = profile.slots.get(key)
        return None if state is None or state[0] <= clock - window else word(state[1])

    return Attached((read,), frozenset((key,)))


# --- the most frequent ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TopWord:
    """Parameters of `top`."""

    path: str
    ref: EventRef
    within: int
    encode: Encode = "onehot"


def _read_top(line: Line) -> TopWord:
    return TopWord(line.path("properties.category"), line.ref("Product Viewed"), line.window(30 * DAY), line.encode())


def _attach_top(compiler: Compiler, one: TopWord) -> Attached:
    window = one.within
    # Not shared with conditions that count by value: how much those keep would decide which value is the most frequent.
    make = lambda key: Keyed(key, window, one.path, TOP_TIMES, TOP_VALUES)  # noqa: E731
    key = compiler.slot("top", one.ref, (one.path, window), make).key

    def read(profile: Profile, clock: int) -> str | None:
        oldest = clock - window
        most, newest, found = 0, 0, ""
        for text, times in profile.slots.get(key, {}).items():
            last = times[-1]
            if last <= oldest:
                continue
            count = len(times) if times[0] > oldest else len(times) - bisect_right(times, oldest)
            if count > most or (count == most and (last > newest or (last == newest and text > found))):
                most, newest, found = count, last, text
        if not most:
            return None
        return found if len(found) <= LONGEST_VALUE else _cut(found)

    return Attached((read,), frozenset((key,)))


# --- traits ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OneTrait:
    """Parameters of `trait`. `number`: its value is a number, else a category."""

    trait: str
    number: bool = False
    encode: Encode = "onehot"


def _read_trait(line: Line) -> OneTrait:
    number = line.choice("type", ("category", "number"), "category") == "number"
    if number and "encode" in line.node:
        line.reader.wrong(line.node.keys["encode"], "a number is not encoded", "leave `encode` out")
    name = line.text("name", LONGEST_TRAIT)
    if name.startswith("traits."):
        line.reader.wrong(
            line.at("name"), "`name` is that of a trait, not a path", f"write {name.removeprefix('traits.')[:100]!r}"
        )
    return OneTrait(name, number, line.encode())


def amount(value: Any) -> float | None:
    """The value as a number, to the millionth; true is 1 and false 0, what is no number or beyond nine trillion is unknown.

    >>> amount(2.5), amount(True), amount("7"), amount(1e300)
    (2.5, 1.0, None, None)
    """
    number = micros(int(value) if type(value) is bool else value)
    return None if number is None else number / MICROS


def _attach_trait(compiler: Compiler, one: OneTrait) -> Attached:
    name, make = one.trait, amount if one.number else word

    def read(profile: Profile, clock: int) -> float | str | None:
        written = profile.traits.get(name)
        return None if written is None else make(written[0])

    made: Read = read
    return Attached((made,), traits=frozenset((name,)))


def _trait_columns(name: str, one: OneTrait) -> tuple[Column, ...]:
    return (Column(name),) if one.number else one_category(name, one)


# --- what there is --------------------------------------------------------------------------------------------------

KINDS: Final = (
    FeatureKind(
        "category",
        "The newest value at a path, as a category: channel, device, payment method; unknown where none was said.",
        "category: {path: context.device.type, encode: onehot, as: device}",
        (
            AS,
            Key("path", "path", "where the value stands", required=True),
            *event_keys(ANY_EVENT),
            within_key(None),
            ENCODE,
        ),
        "one value with its time",
        lambda line: NewestWord(line.path(single=True), line.ref(ANY_EVENT), line.within(None), line.encode()),
        _attach_newest,
        one_category,
    ),
    FeatureKind(
        "top",
        "The value at a path that most events of a window have, the newest of several; unknown without any.",
        "top: {path: properties.category, event: Product Viewed, within: 30d, as: favourite}",
        (
            AS,
            Key("path", "path", "where the value stands; `properties.category` unless told"),
            *event_keys("Product Viewed"),
            Key("within", "duration", "how far back they count; 30d unless told"),
            ENCODE,
        ),
        f"the {TOP_VALUES} values seen last, each with its newest {TOP_TIMES} times",
        _read_top,
        _attach_top,
        one_category,
    ),
    FeatureKind(
        "trait",
        "What is known of the customer: a trait, as a category or a number.",
        "trait: {name: country, encode: onehot}",
        (
            AS,
            Key("name", "text", "the name of the trait", required=True),
            Key(
                "type",
                "text",
                "whether its value is a category or a number; `category` unless told",
                among=("category", "number"),
            ),
            ENCODE,
        ),
        "nothing besides the trait",
        _read_trait,
        _attach_trait,
        _trait_columns,
    ),
)
