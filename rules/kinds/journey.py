"""`sequence`: several steps one after the other, and what does not happen before, between and after them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from profiles.document import Mapping, Node
from profiles.profile import Profile
from profiles.values import each_reader
from rules.compiled import Compiled, moment
from rules.conditions import completions, silent_after
from rules.definition import ANY_EVENT, Condition, EventRef, Journey, Sequence, Silence, Step, Trait
from rules.duration import format_duration
from rules.journeys import Chains, Course, Gap, Link, Quiet, Role, Trail, is_quiet
from rules.kinds.kind import Key, Kind
from rules.predicates import Predicate, reads

if TYPE_CHECKING:
    from rules.compiler import Compiler
    from rules.condition_reader import ConditionReader

MOST_STEPS: Final = 10
"""Steps of one sequence, silences among them."""

_EXAMPLE: Final = "write `steps: [{event: Cart Updated}, {not: Order Completed, for: 30m}]`"

# --- reading ------------------------------------------------------------------------------------------------------

_PER: Final = Key("per", "path", "where this step has the value that `per` beside `steps` asks for, if elsewhere")
_WITHIN: Final = Key("within", "duration", "at most so long after the step before")

STEP_KEYS: Final[dict[str, tuple[Key, ...]]] = {
    "event": (
        Key("event", "event", "what happens", required=True),
        Key("where", "where", "what must hold of the event"),
        Key("during", "during", "when it must have happened"),
        _WITHIN,
        _PER,
    ),
    "any": (Key("any", "references", "one of these happens", required=True), _WITHIN, _PER),
    "not": (
        Key("not", "references", "none of these happens between the steps around it", required=True),
        Key("for", "duration", "only for so long after the step before (in front of all steps: before the first)"),
        _PER,
    ),
}
"""What may stand in a step, by the key that says what it is."""

_INSTEAD: Final = {
    "event": {"for": "how long a step may take is `within`; `for` belongs to `not`"},
    "any": {
        "for": "how long a step may take is `within`; `for` belongs to `not`",
        "where": "write it at each: `any: [{event: <name>, where: {...}}]`",
    },
    "not": {
        "within": "how long nothing happens is `for: 30m`",
        "where": "write `not: {event: <name>, where: {...}}`",
    },
}


def _read(reader: ConditionReader, outer: Mapping) -> Condition:
    nothing = Trait(())
    node = reader.mapping(outer["sequence"], "`sequence`", _EXAMPLE)
    if node is None:
        return nothing
    before = len(reader.errors)
    reader.known_keys(node, SEQUENCE)
    within = reader.within(node)
    per = reader.path(node["per"], "`per`") if "per" in node else None
    if "steps" not in node:
        reader.wrong(node, "'steps' is missing here", _EXAMPLE)
        return nothing
    nodes = reader.entries(node["steps"], "`steps`", MOST_STEPS, _EXAMPLE)
    steps = tuple(_read_step(reader, one) for one in nodes)
    if len(reader.errors) == before:
        _check_order(reader, node, steps, nodes)
    if len(reader.errors) == before:
        _check_limits(reader, node, steps, nodes, within)
    if len(reader.errors) > before:
        return nothing
    if len(_happening(steps)) == 1:
        within = None  # what all steps must lie within limits nothing where there is one
    return _plain(Journey(steps, within, per))


def _read_step(reader: ConditionReader, entry: Node) -> Step | Silence:
    """One step; one without events where it is wrong."""
    node = reader.mapping(entry, "a step", "write `{event: <name>}` or `{not: <name>, for: 30m}`")
    if node is None:
        return Step(())
    kinds = [key for key in STEP_KEYS if key in node]
    if not kinds:
        hint = "write `{event: <name>}`, `{any: [<name>, <name>]}` or `{not: <name>}`"
        reader.wrong(node, "a step says what happens or what does not", hint)
        return Step(())
    if kinds[1:]:
        reader.wrong(node.keys[kinds[1]], f"{kinds[1]!r} is a step of its own beside {kinds[0]!r}", "make two steps")
        return Step(())
    (kind,) = kinds
    reader.only(node, tuple(key.name for key in STEP_KEYS[kind]), _INSTEAD[kind])
    per = reader.path(node["per"], "`per`") if "per" in node else None
    if kind == "not":
        lasting = reader.duration(node["for"], "`for`") if "for" in node else None
        return Silence(reader.references(node["not"], "`not`"), lasting, per)
    if kind == "any":
        return Step(reader.references(node["any"], "`any`"), reader.within(node), per)
    ref = EventRef(reader.event_name(node["event"], "`event`"), reader.where(node), reader.during(node))
    return Step((ref,), reader.within(node), per)


def _happening(steps: tuple[Step | Silence, ...]) -> list[int]:
    """The places of the steps that happen."""
    return [at for at, step in enumerate(steps) if isinstance(step, Step)]


def _check_order(
    reader: ConditionReader, outer: Mapping, steps: tuple[Step | Silence, ...], nodes: tuple[Node, ...]
) -> None:
    """Note what cannot stand where it does."""
    happening = _happening(steps)
    if not happening:
        hint = "say what happens before or after it; for absence alone write `absent: <name>`"
        reader.wrong(outer["steps"], "no step of this sequence happens", hint)
        return
    if len(steps) == 1:
        hint = "write `event: <name>` for one event, or add `{not: <name>, for: 30m}`"
        reader.wrong(outer["steps"], "a sequence has at least two steps", hint)
    for at, (step, node) in enumerate(zip(steps, nodes, strict=True)):
        assert isinstance(node, Mapping)
        if step.per is not None and "per" not in outer:
            reader.wrong(
                node.keys["per"], "'per' in a step needs 'per' beside 'steps'", "which says what is the same in all"
            )
        if isinstance(step, Silence) and step.lasting is None and not happening[0] < at < happening[-1]:
            first = at < happening[0]
            hint = "say for how long before the first step: `for: 60d`" if first else "say for how long: `for: 30m`"
            reader.wrong(node, "'for' is missing here", hint)
    first_node = nodes[happening[0]]
    if isinstance(first_node, Mapping) and "within" in first_node:
        hint = "it limits the time since the step before; beside `steps` it limits all of them together"
        reader.wrong(first_node.keys["within"], "the first step has no step before it", hint)


def _check_limits(
    reader: ConditionReader,
    outer: Mapping,
    steps: tuple[Step | Silence, ...],
    nodes: tuple[Node, ...],
    within: int | None,
) -> None:
    """Note what would have to be remembered for ever, what cannot happen, and what limits nothing."""
    waits = [_wait(steps, at) for at in _happening(steps)[1:]]
    for at, wait in zip(_happening(steps)[1:], waits, strict=True):
        step, node = steps[at], nodes[at]
        assert isinstance(step, Step) and isinstance(node, Mapping)
        if step.within is None and within is None:
            hint = "add `within: 24h` to it, or beside `steps` for all; for events in any order write `all: [{event: ...}, ...]`"
            reader.wrong(node, "nothing limits how long this step may take, so all before it is kept for ever", hint)
        elif step.within is not None and step.within < wait:
            silence = format_duration(wait)
            reader.wrong(
                node.keys["within"], f"the silence before this step lasts {silence}, longer than this", "give it more"
            )
        elif step.within is not None and within is not None and step.within > within:
            reader.warn(node.keys["within"], f"this limits nothing: all steps lie within {format_duration(within)}")
    if within is not None and sum(waits) > within:
        silence = format_duration(sum(waits))
        reader.wrong(outer.keys["within"], f"the silences between the steps last {silence}, longer than this")


def _wait(steps: tuple[Step | Silence, ...], at: int) -> int:
    """How long the silences right before a step last."""
    longest = 0
    for before in reversed(steps[:at]):
        if isinstance(before, Step):
            break
        longest = max(longest, before.lasting or 0)
    return longest


def _plain(journey: Journey) -> Condition:
    """The journey, or where it is no more than one event that another does not follow, the condition that is made for that."""
    match journey:
        case Journey((Step((start,), None, None), Silence(unless, int(silence), None)), None, None):
            return Sequence(start, silence, unless)
    return journey


# --- compiling ----------------------------------------------------------------------------------------------------


def _course(journey: Journey) -> tuple[Course, list[tuple[EventRef, int, str | None]]]:
    """The journey in numbers, and for each of its references the bit and the path of the step that it stands in."""
    happening = _happening(journey.steps)
    parts: list[tuple[EventRef, int, str | None]] = []
    gaps: list[list[Quiet]] = [[] for _ in range(len(happening) + 1)]
    passed, silent = 0, len(happening)
    for step in journey.steps:
        bit = 1 << (passed if isinstance(step, Step) else silent)
        parts += [(ref, bit, step.per or journey.per) for ref in step.of]
        if isinstance(step, Step):
            passed += 1
        else:
            gaps[passed].append(Quiet(bit, step.lasting or 0))
            silent += 1
    limits = [step.within for step in journey.steps if isinstance(step, Step)][1:]
    never = Gap().within
    between = tuple(
        Gap(never if limit is None else limit, tuple(quiet)) for limit, quiet in zip(limits, gaps[1:-1], strict=True)
    )
    within = never if journey.within is None else journey.within
    return Course(len(happening), between, within, tuple(gaps[0]), tuple(gaps[-1])), parts


def _trail(compiler: Compiler, journey: Journey) -> Trail:
    """The slot of a journey, which counts all events that its steps and silences mean."""
    course, parts = _course(journey)
    names = sorted({ref.event for ref, _, _ in parts} - {ANY_EVENT})
    roles = {name: _roles(compiler, parts, name) for name in names}
    others = _roles(compiler, parts, ANY_EVENT)
    meaning = tuple(
        (
            type(step).__name__,
            step.within if isinstance(step, Step) else step.lasting,
            step.per,
            *((ref.event, *compiler.tests_of(ref)) for ref in step.of),
        )
        for step in journey.steps
    )
    slot = compiler.share(
        ("journey", journey.within, journey.per, *meaning),
        lambda key: Trail(key, course, roles, others, journey.per is not None),
    )
    assert isinstance(slot, Trail)
    if others:
        # One role for all events, so that each is counted once.
        compiler.count(EventRef(ANY_EVENT), slot, partial(_plays, roles, others))
    else:
        for name in names:
            compiler.count(EventRef(name), slot, _one_of([role.where for role in roles[name]]))
    return slot


def _roles(compiler: Compiler, parts: list[tuple[EventRef, int, str | None]], name: str) -> tuple[Role, ...]:
    """What events of a name can be, those told apart by the same tests and path as one."""
    found: dict[str, Role] = {}
    for ref, bit, path in parts:
        if ref.event in (name, ANY_EVENT):
            same = repr((compiler.tests_of(ref), path))
            known = found.get(same) or Role(compiler.where(ref), 0, None if path is None else each_reader(path))
            found[same] = known._replace(bits=known.bits | bit)
    return tuple(found.values())


def _one_of(tests: list[Predicate | None]) -> Predicate | None:
    """Whether one of the tests holds; None where that is always so."""
    known = [test for test in tests if test is not None]
    if len(known) < len(tests):
        return None
    return known[0] if len(known) == 1 else lambda event: any(test(event) for test in known)


def _plays(roles: dict[str, tuple[Role, ...]], others: tuple[Role, ...], event: Any) -> bool:
    """Whether an event of any name is something in the journey."""
    return any(role.where is None or role.where(event) for role in roles.get(event.name, others))


def journey_slot(compiler: Compiler, journey: Journey) -> tuple[int, int]:
    """The key of the slot that keeps the completions of a journey, and how long after its last step it completes."""
    slot = _trail(compiler, journey)
    return slot.key, slot.course.silence


def _compile(compiler: Compiler, journey: Journey) -> Compiled:
    slot = _trail(compiler, journey)
    words = [_words(step) for step in journey.steps]
    text = ", then ".join(words)
    threshold: dict[str, Any] = {"steps": words}
    if journey.within is not None:
        threshold["within"] = format_duration(journey.within)
    if journey.per is not None:
        text = f"{text}, the same {journey.per}"
        threshold["per"] = journey.per
    return Compiled(
        text,
        silent_after("", slot.key, slot.course.silence).evaluate,
        slots=frozenset((slot.key,)),
        measure=_Progress(journey, slot).at,
        threshold=threshold,
    )


def _words(step: Step | Silence) -> str:
    """A step as evidence names it."""
    of = " or ".join(map(reads, step.of))
    if isinstance(step, Step):
        return of if step.within is None else f"{of} within {format_duration(step.within)}"
    return f"no {of}" if step.lasting is None else f"no {of} for {format_duration(step.lasting)}"


# --- evidence -----------------------------------------------------------------------------------------------------


class _Progress:
    """How far a customer has come in a journey: the newest completion and its steps, else the instance that is furthest."""

    def __init__(self, journey: Journey, slot: Trail) -> None:
        self.slot = slot
        happening = _happening(journey.steps)
        self.names = [" or ".join(map(reads, journey.steps[at].of)) for at in happening]
        ends = [*happening[1:], len(journey.steps) - 1]
        self.awaited = [
            ", then ".join(map(_words, journey.steps[at + 1 : end + 1]))
            for at, end in zip(happening, ends, strict=True)
        ]
        self.first = ", then ".join(map(_words, journey.steps[: happening[0] + 1]))

    def at(self, profile: Profile, clock: int) -> dict[str, Any]:
        """The evidence at this clock."""
        state = profile.slots.get(self.slot.key)
        if state is None:
            return {"done": [], "awaited": self.first}
        completed, _ = completions(profile, clock, self.slot.key, self.slot.course.silence)
        if completed:
            return {"completed": moment(completed), **self._completed(state[0], completed)}
        found = list(self._unfinished(state[0], clock))
        return max(found, key=lambda one: one[:2])[2] if found else {"done": [], "awaited": self.first}

    def _completed(self, trail: list[Any], completed: int) -> dict[str, Any]:
        """The steps of the instance that completed then; nothing if they are not kept any more."""
        course = self.slot.course
        for value, times, marks in self.slot.of_each_value(trail):
            chains = course.chains(times, marks, trail[1])
            for link in chains[-1]:
                if times[link.at] + course.silence == completed and is_quiet(course.after, times, marks, link.at):
                    return self._steps(chains, course.steps - 1, link, times, value)
        return {}

    def _unfinished(self, trail: list[Any], clock: int) -> Iterator[tuple[int, int, dict[str, Any]]]:
        """Of each value the instance that is furthest and may still complete: its last step, when that was, the evidence."""
        course = self.slot.course
        for value, times, marks in self.slot.of_each_value(trail):
            chains = course.chains(times, marks, trail[1])
            for step in range(course.steps - 1, -1, -1):
                open_ = [link for link in chains[step] if self._is_open(step, link, times, marks, clock)]
                if open_:
                    steps = self._steps(chains, step, open_[-1], times, value)
                    yield step, times[open_[-1].at], {**steps, "awaited": self.awaited[step]}
                    break

    def _is_open(self, step: int, link: Link, times: list[int], marks: list[int], clock: int) -> bool:
        course = self.slot.course
        if step == course.steps - 1:
            return is_quiet(course.after, times, marks, link.at)
        gap = course.gaps[step]
        in_time = clock - times[link.at] <= gap.within and clock - link.began <= course.within
        return in_time and is_quiet(gap.silences, times, marks, link.at)

    def _steps(self, chains: Chains, step: int, link: Link, times: list[int], value: str) -> dict[str, Any]:
        """The steps up to a link, each with its moment, and the value that binds them."""
        done: list[dict[str, str]] = []
        while True:
            done.append({"step": self.names[step], "at": moment(times[link.at])})
            if not step:
                break
            step -= 1
            link = next(one for one in chains[step] if one.at == link.before)
        return {"done": done[::-1], **({"value": value} if self.slot.bound else {})}


SEQUENCE: Final = Kind(
    "sequence",
    "These steps happened one after the other; it holds from the first time on, and each further time is a new rise.",
    "sequence:\n"
    "  within: 24h\n"
    "  per: properties.product_id\n"
    "  steps:\n"
    "    - event: Product Viewed\n"
    "    - {any: [Product Added, Wishlist Product Added], within: 1h}\n"
    "    - {not: Order Completed, per: 'properties.products[].product_id', for: 30m}",
    "mapping",
    _read,
    _compile,
    (Journey,),
    keys=(
        Key("steps", "steps", f"what happens and what does not, in order; at most {MOST_STEPS}", required=True),
        Key("within", "duration", "all steps lie within this time, from the first to the last"),
        Key("per", "path", "all steps and silences are about the same value: the same product, say"),
    ),
)

KINDS: Final = (SEQUENCE,)
