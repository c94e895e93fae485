"""Reading the tests of a rule file. See `rules.scenario` for what they mean."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal

from profiles.document import Mapping, Node, Scalar
from profiles.event import EARLIEST_EVENT_TIME, parse_time
from rules import vocabulary
from rules.kinds.rfm import MEASURES
from rules.reader import LARGEST_NUMBER, LONGEST_DURATION, LONGEST_NAME, Reader
from rules.scenario import DEFAULT_NOW, Expected, Given, Scenario

MOST_TESTS: Final = 200
MOST_LINES: Final = 1000
IDENTIFY: Final = "identify"
_BOUNDS: Final = 4
_POPULATION: Final = "write `population: {monetary: [50, 100, 200, 500]}`"

_LATEST: Final = 4_102_444_800_000  # 2100
_NOT_GIVEN: Final = {
    "traits": "write `identify: {<trait>: <value>}`",
    "name": "write `event: <name>`",
    "time": "write `at: 10m`",
    "where": "write the properties themselves: `properties: {<name>: <value>}`",
}
_NOT_EXPECTED: Final = {
    "out": "write `in: false`",
    "enter": "write `entered: true`",
    "exit": "write `exited: true`",
    "left": "write `exited: true`",
    "time": "write `at: 10m`",
}


def read_scenarios(reader: Reader, node: Node) -> tuple[Scenario, ...]:
    """The tests under `tests:`; what is wrong is noted in the reader."""
    tests = reader.entries(node, "`tests`", MOST_TESTS, "write `- name: ...` with `given` and `expect`")
    scenarios = [_scenario(reader, test, number) for number, test in enumerate(tests, 1)]
    found = [scenario for scenario in scenarios if scenario is not None]
    first: dict[str, int] = {}
    for scenario, test in zip(scenarios, tests, strict=True):
        if scenario is not None and first.setdefault(scenario.name, scenario.line) != scenario.line:
            reader.wrong(
                test, f"two tests are named {scenario.name[:60]!r}", f"the first is at line {first[scenario.name]}"
            )
    return tuple(found)


def _scenario(reader: Reader, outer: Node, number: int) -> Scenario | None:
    node = reader.mapping(outer, "a test", "write `- name: ...` with `given` and `expect`")
    if node is None:
        return None
    reader.only(node, vocabulary.TEST_KEYS)
    name = reader.text(node["name"], "`name`") if "name" in node else f"test {number}"
    for key in ("given", "expect"):
        if key not in node:
            reader.wrong(node, f"{key!r} is missing here")
            return None
    given = tuple(_given(reader, one) for one in reader.entries(node["given"], "`given`", MOST_LINES))
    expected = tuple(_expected(reader, one) for one in reader.entries(node["expect"], "`expect`", MOST_LINES))
    if expected and not reader.errors:
        end = max(one.at for one in expected)
        for one, at in zip(given, node["given"], strict=True):  # type: ignore[call-overload]
            if one.arrives > end:
                reader.warn(at, "nothing is expected after this event, so it is not tested")
    first = min((one.at for one in given), default=0)
    said = (*_said_before(reader, node, first), *given)
    now, anything, held_out = _now(reader, node), _any_transitions(reader, node), _held_out(reader, node)
    population = _population(reader, node["population"]) if "population" in node else ()
    return Scenario(name, said, expected, now, anything, node.line, node.column, held_out, population)


def _said_before(reader: Reader, node: Mapping, first: int) -> Iterator[Given]:
    """What a test says of its customer as a whole: `scores`, known with what is given first, and `members`, each since when."""
    at = node.line, node.column
    if "scores" in node:
        yield Given(first, first, line=at[0], column=at[1], scores=_scores(reader, node["scores"]))
    if "members" in node:
        members = reader.mapping(node["members"], "`members`", "write `members: {vip: -10d}`")
        for name, since in members.items() if members is not None else ():
            entered = reader.offset(since, "the time since when")
            yield Given(entered, entered, line=since.line, column=since.column, members={name: True})


def _held_out(reader: Reader, node: Mapping) -> bool:
    """Whether the test is about a customer whom the holdout keeps out."""
    found = node.get("holdout")
    if found is not None and found.plain() is not True:
        reader.wrong(found, "`holdout` is true or left out", "`holdout: true` is about a customer who is held out")
    return found is not None


def _scores(reader: Reader, node: Node) -> dict[str, float | str]:
    """What models say: a number each, or the name of a persona."""
    found = reader.mapping(node, "`scores`", "write `scores: {churn: 0.8}`")
    scores: dict[str, float | str] = {}
    for model, said in found.items() if found is not None else ():
        value = said.plain()
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            reader.wrong(said, "a score is a number, or the name of a persona", f"write `{model[:60]}: 0.8`")
        else:
            scores[model] = value
    return scores


def _population(reader: Reader, node: Node) -> tuple[tuple[str, tuple[float, ...]], ...]:
    """How all customers are spread: the bounds between the fifths, by measure of `rfm` in order."""
    found = reader.mapping(node, "`population`", _POPULATION)
    if found is None:
        return ()
    reader.only(found, MEASURES)
    if not len(found):
        reader.wrong(found, "`population` is empty", f"{_POPULATION}, or leave it out")
    return tuple((measure, _bounds(reader, found[measure], measure)) for measure in MEASURES if measure in found)


def _bounds(reader: Reader, node: Node, measure: str) -> tuple[float, ...]:
    """The four bounds of one measure, which ascend."""
    before = len(reader.errors)
    hint = "write the four bounds between the fifths of all customers"
    bounds = tuple(_bound(reader, one, measure) for one in reader.entries(node, f"`{measure}`", _BOUNDS, hint, _BOUNDS))
    if len(reader.errors) == before and tuple(sorted(bounds)) != bounds:
        reader.wrong(
            node, f"the bounds of `{measure}` must ascend", "the first is the one that one fifth do not exceed"
        )
    return bounds


def _bound(reader: Reader, node: Node, measure: str) -> float:
    what = f"a bound of `{measure}`"
    if measure == "recency":
        return reader.duration(node, what)
    if measure == "frequency":
        return reader.integer(node, what, 1, LARGEST_NUMBER)
    value = node.value if isinstance(node, Scalar) else None
    if type(value) not in (int, float) or not -LARGEST_NUMBER < value < LARGEST_NUMBER:  # type: ignore[operator]
        reader.wrong(node, f"{what} must be a number within {LARGEST_NUMBER:,}")
        return 0.0
    return float(value)  # type: ignore[arg-type]


def _now(reader: Reader, node: Mapping) -> int:
    found = node.get("now")
    if found is None:
        return DEFAULT_NOW
    try:
        text = found.plain()
        time = parse_time(text) if isinstance(text, str) else -1
    except (ValueError, OverflowError):
        time = -1
    if not EARLIEST_EVENT_TIME + LONGEST_DURATION <= time <= _LATEST:
        reader.wrong(found, "`now` must be a time from 2010 to 2100 such as 2026-03-02T09:00:00Z")
        return DEFAULT_NOW
    return time


def _any_transitions(reader: Reader, node: Mapping) -> bool:
    found = node.get("transitions")
    if found is not None and found.plain() != "any":
        reader.wrong(
            found, "`transitions` is `any` or left out", "`any` allows entering and leaving that no line expects"
        )
    return found is not None


def _given(reader: Reader, outer: Node) -> Given:
    node = reader.mapping(outer, "what is given", "write `{at: 0m, event: <name>, properties: {...}}`")
    if node is None:
        return Given(0, 0, "")
    reader.only(node, vocabulary.GIVEN_KEYS, _NOT_GIVEN)
    at = _at(reader, node)
    arrives = reader.offset(node["arrives"], "`arrives`") if "arrives" in node else at
    if arrives < at:
        reader.wrong(
            node["arrives"],
            "an event cannot arrive before it happens",
            "`arrives` is when it comes in, `at` when it happened",
        )
    scores = _scores(reader, node["scores"]) if "scores" in node else {}
    members = {
        reader.text(node[key], f"`{key}`", LONGEST_NAME): key == "entered"
        for key in ("entered", "exited")
        if key in node
    }
    traits = None
    if members:
        _alone(reader, node, next(key for key in node if key in ("entered", "exited")), ("at",))
        name = ""
    elif "scores" in node and "event" not in node and "identify" not in node:
        _alone(reader, node, "scores", ("at",))
        name = ""
    elif "identify" in node:
        traits = _values(reader, node, "identify")
        if "event" in node:
            reader.wrong(node.keys["event"], "'event' cannot stand beside 'identify'", "write two lines")
        name = IDENTIFY
    elif "event" in node:
        name = reader.text(node["event"], "`event`", LONGEST_NAME)
    else:
        hint = "write `event: <name>`, `identify: {<trait>: <value>}`, `scores: {<model>: <number>}` or `entered: <segment>`"
        reader.wrong(node, "'event' is missing here", hint)
        name = ""
    return Given(
        at,
        arrives,
        name,
        _values(reader, node, "properties"),
        traits,
        _values(reader, node, "context"),
        reader.text(node["id"], "`id`", LONGEST_NAME) if "id" in node else "",
        node.line,
        node.column,
        scores,
        members,
    )


def _alone(reader: Reader, node: Mapping, key: str, beside: tuple[str, ...]) -> None:
    """Note what cannot stand in a line that says `key`."""
    for other in node:
        if other != key and other not in beside:
            reader.wrong(node.keys[other], f"{other!r} cannot stand beside {key!r}", "write two lines")


def _values(reader: Reader, node: Mapping, key: str) -> dict[str, Any]:
    found = node.get(key)
    if found is None:
        return {}
    mapping = reader.mapping(found, f"`{key}`", f"write `{key}: {{<name>: <value>}}`")
    return {} if mapping is None else mapping.plain()


def _expected(reader: Reader, outer: Node) -> Expected:
    node = reader.mapping(outer, "what is expected", "write `{at: 30m, entered: true}`")
    if node is None:
        return Expected(0)
    reader.only(node, vocabulary.EXPECT_KEYS, _NOT_EXPECTED)
    at = _at(reader, node)
    inside: bool | None = None
    if "in" in node:
        value = node["in"].plain()
        if not isinstance(value, bool):
            reader.wrong(node["in"], "`in` is true or false")
        else:
            inside = value
    kinds: list[Literal["entered", "exited"]] = []
    for kind in node:
        if kind == "entered" or kind == "exited":
            kinds.append(kind)  # type: ignore[arg-type]
            flag = node[kind]
            if not isinstance(flag, Scalar) or flag.value is not True:
                reader.wrong(flag, f"`{kind}` can only be true", "leave it out: what no line expects must not happen")
    if inside is None and not kinds:
        reader.wrong(node, "nothing is expected here", "add `in: true`, `in: false`, `entered: true` or `exited: true`")
    return Expected(at, inside, tuple(kinds), node.line, node.column)


def _at(reader: Reader, node: Mapping) -> int:
    if "at" in node:
        return reader.offset(node["at"], "`at`")
    reader.wrong(node, "'at' is missing here", "say when: `at: 30m`")
    return 0
