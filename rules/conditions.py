"""The conditions that look at what was kept: counts, times since, sequences, numbers, traits. Each is a function that makes one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import Any

from profiles.profile import NEVER, Profile
from profiles.values import MICROS
from rules.compiled import NO, YES, Compiled, Evaluate, moment
from rules.definition import Operator, Test
from rules.duration import format_duration
from rules.moments import moment_of
from rules.predicates import compare, compare_exactly, thresholds

# --- comparisons of a count ---------------------------------------------------------------------------------------


def count_bounds(tests: tuple[Test, ...]) -> tuple[int, int | None]:
    """The smallest and the largest count (None: no limit) that satisfy the tests; smallest > largest if none does."""
    low, high = 0, NEVER
    for test in tests:
        operator, operand = test.operator, test.operand
        if isinstance(operand, tuple):
            least, most = map(int, operand)
            low, high = max(low, least), min(high, most)
            continue
        bound = int(operand)
        if operator in (Operator.GTE, Operator.EQ):
            low = max(low, bound)
        if operator in (Operator.LTE, Operator.EQ):
            high = min(high, bound)
        if operator is Operator.GT:
            low = max(low, bound + 1)
        if operator is Operator.LT:
            high = min(high, bound - 1)
    return low, None if high == NEVER else high


def _count_truth(times: list[int], clock: int, window: int, low: int, high: int | None) -> tuple[bool, int]:
    """Whether the number of `times` in the window lies in [low, high], and when it may stop or begin to by itself."""
    if window == NEVER:
        count = len(times)
        return YES if low <= count and (high is None or count <= high) else NO
    count = len(times) - bisect_right(times, clock - window)
    if count < low:
        return NO
    if high is not None and count > high:
        # It falls to `high` when the newest but `high` leaves; below nothing it never falls.
        return (False, times[-high - 1] + window) if high >= 0 else NO
    return True, (times[-low] + window if low else NEVER)


def _in_window(times: list[int], clock: int, window: int) -> int:
    return len(times) if window == NEVER else len(times) - bisect_right(times, clock - window)


def counted(text: str, key: int, window: int, low: int, high: int | None, threshold: Any) -> Compiled:
    """So many events within the window (`Times` or, beyond bounds, its newest)."""

    def at_least(profile: Profile, clock: int) -> tuple[bool, int]:
        times = profile.slots.get(key)
        if times is None or len(times) < low:
            return NO
        until = times[-low] + window
        return (True, until) if until > clock else NO

    def ever(profile: Profile, clock: int) -> tuple[bool, int]:
        times = profile.slots.get(key)
        return YES if times is not None and len(times) >= low else NO

    def between(profile: Profile, clock: int) -> tuple[bool, int]:
        return _count_truth(profile.slots.get(key, []), clock, window, low, high)

    if high is not None or low == 0:
        evaluate: Evaluate = between
    else:
        evaluate = ever if window == NEVER else at_least
    return Compiled(
        text,
        evaluate,
        slots=frozenset((key,)),
        rising={key: low} if high is None else {},
        measure=lambda profile, clock: _in_window(profile.slots.get(key, []), clock, window),
        threshold=threshold,
    )


def absent(text: str, key: int, window: int) -> Compiled:
    """No event in the window, for a customer who has been seen."""

    def evaluate(profile: Profile, clock: int) -> tuple[bool, int]:
        times = profile.slots.get(key)
        if not times:
            return YES
        if window == NEVER:
            return NO
        until = times[-1] + window
        return (False, until) if until > clock else YES

    def last(profile: Profile, clock: int) -> str | None:
        times = profile.slots.get(key)
        return moment(times[-1]) if times else None

    threshold = f"none within {format_duration(window)}" if window != NEVER else "never"
    return Compiled(text, evaluate, slots=frozenset((key,)), measure=last, threshold=threshold)


# --- the same property value ------------------------------------------------------------------------------------


def per_value(
    text: str, key: int, without_key: int | None, window: int, low: int, high: int | None, threshold: Any
) -> Compiled:
    """Some property value whose own events satisfy the bounds, and that has no `without` event in the window."""
    low = max(low, 1)

    def of_value(profile: Profile, clock: int, value: str, times: list[int]) -> tuple[bool, int]:
        truth, flip = _count_truth(times, clock, window, low, high)
        if without_key is None:
            return truth, flip
        blocked = profile.slots.get(without_key, {}).get(value)
        if not blocked:
            return truth, flip
        if window == NEVER:
            return NO
        free = blocked[-1] + window
        if free <= clock:
            return truth, flip
        # Until the blocking event leaves the window nothing holds; look again then, if anything is left by then.
        return (False, free) if times[-1] + window > free else NO

    def general(profile: Profile, clock: int) -> tuple[bool, int]:
        earliest = NEVER
        for value, times in profile.slots.get(key, {}).items():
            truth, flip = of_value(profile, clock, value, times)
            if truth:
                return True, flip
            if flip < earliest:
                earliest = flip
        return False, earliest

    def at_least(profile: Profile, clock: int) -> tuple[bool, int]:
        state = profile.slots.get(key)
        if state is None:
            return NO
        oldest, earliest = clock - window, NEVER
        blocked = None if without_key is None else profile.slots.get(without_key)
        # One value is enough. The one seen last most often holds longest; at its end the others are looked at.
        for value in reversed(state):
            times = state[value]
            if len(times) < low or times[-low] <= oldest:
                continue
            if blocked is not None and (stopped := blocked.get(value)) is not None and stopped[-1] > oldest:
                # Until the blocking event leaves the window this value does not hold; it may do so afterwards.
                if times[-low] > stopped[-1] and stopped[-1] + window < earliest:
                    earliest = stopped[-1] + window
                continue
            return True, times[-low] + window
        return False, earliest

    evaluate = at_least if high is None and window != NEVER else general

    def values(profile: Profile, clock: int) -> list[dict[str, Any]]:
        found = [
            {"value": value, "count": _in_window(times, clock, window)}
            for value, times in profile.slots.get(key, {}).items()
            if of_value(profile, clock, value, times)[0]
        ]
        return sorted(found, key=lambda one: (-one["count"], one["value"]))[:3]

    keys = frozenset((key,) if without_key is None else (key, without_key))
    rising = {key: low} if high is None and key != without_key else {}
    return Compiled(text, evaluate, slots=keys, rising=rising, measure=values, threshold=threshold)


# --- silence ------------------------------------------------------------------------------------------------------


def returned(text: str, key: int, window: int, low: int, high: int | None, threshold: Any) -> Compiled:
    """So many events in the window that came after a silence (`Returns`)."""

    def times(profile: Profile) -> list[int]:
        state = profile.slots.get(key)
        return state[3::2] if state else []

    return Compiled(
        text,
        lambda profile, clock: _count_truth(times(profile), clock, window, low, high),
        slots=frozenset((key,)),
        measure=lambda profile, clock: _in_window(times(profile), clock, window),
        threshold=threshold,
    )


def since(text: str, key: int, first: bool, tests: tuple[Test, ...], threshold: Any) -> Compiled:
    """How long ago the last (first) event was, in milliseconds, compared. False if it never was."""
    bounds = [time_bounds(test) for test in tests]

    def at(profile: Profile) -> int | None:
        state = profile.slots.get(key)
        if not state:
            return None
        return state if first else state[-1]  # type: ignore[no-any-return]

    def evaluate(profile: Profile, clock: int) -> tuple[bool, int]:
        start = at(profile)
        if start is None:
            return NO
        passed = clock - start
        truth, flip = True, NEVER
        for low, high in bounds:
            truth = truth and low <= passed <= high
            if passed < low:
                flip = min(flip, start + low)
            elif passed <= high < NEVER:
                flip = min(flip, start + high + 1)
        return truth, flip

    def ago(profile: Profile, clock: int) -> str | None:
        start = at(profile)
        return None if start is None else format_duration(clock - start)

    # The time since the last event only becomes shorter by one more.
    rises = not first and all(low == 0 for low, _ in bounds)
    return Compiled(
        text,
        evaluate,
        slots=frozenset((key,)),
        rising={key: 1} if rises else {},
        measure=ago,
        threshold=threshold,
    )


def time_bounds(test: Test) -> tuple[int, int]:
    """The shortest and the longest time, in milliseconds, that satisfy the test."""
    operator, operand = test.operator, test.operand
    if operator is Operator.BETWEEN:
        return operand[0], operand[1]  # type: ignore[index,return-value]
    bound = int(operand)  # type: ignore[arg-type]
    return {
        Operator.GTE: (bound, NEVER),
        Operator.GT: (bound + 1, NEVER),
        Operator.LTE: (0, bound),
        Operator.LT: (0, bound - 1),
        Operator.EQ: (bound, bound),
    }[operator]


def silent_after(text: str, key: int, silence: int) -> Compiled:
    """The start of a sequence happened and nothing cancelled it for `silence` (`Anchors`)."""

    def evaluate(profile: Profile, clock: int) -> tuple[bool, int]:
        state = profile.slots.get(key)
        if state is None or len(state) < 2:
            return NO
        completes = state[1] + silence
        return YES if completes <= clock else (False, completes)

    def completed(profile: Profile, clock: int) -> str | None:
        last = completions(profile, clock, key, silence)[0]
        return moment(last) if last else None

    threshold = f"silence of {format_duration(silence)}"
    return Compiled(text, evaluate, slots=frozenset((key,)), measure=completed, threshold=threshold)


def completions(profile: Profile, clock: int, key: int, silence: int) -> tuple[int, int]:
    """The newest completion at or before the clock (0: none), and the next one after it (NEVER: none pending)."""
    state = profile.slots.get(key)
    if state is None or len(state) == 1:
        return 0, NEVER
    if state[1] > clock - silence:  # as nearly always: all of them are still pending
        return 0, state[1] + silence
    at = bisect_right(state, clock - silence, 1)
    return (state[at - 1] + silence if at > 1 else 0), (state[at] + silence if at < len(state) else NEVER)


# --- numbers ------------------------------------------------------------------------------------------------------


def aggregated(text: str, fn: str, key: int, window: int, tests: tuple[Test, ...], threshold: Any) -> Compiled:
    """A number over `Contributions` (a window) or `Total` (ever), compared exactly in millionths."""
    compares = [compare_exactly(test) for test in tests]

    def number(profile: Profile, clock: int) -> tuple[int | None, int, int]:
        """Numerator, denominator, and when the oldest contribution leaves."""
        state = profile.slots.get(key)
        if state is None or (window != NEVER and not state[0]):
            return (0 if fn == "sum" else None), 1, NEVER
        if window == NEVER:
            return state[0], (state[1] if fn == "mean" else 1), NEVER
        times, numbers, counts = state
        start = bisect_right(times, clock - window)
        if start == len(times):
            return (0 if fn == "sum" else None), 1, NEVER
        leaves = times[start] + window
        if start:
            numbers, counts = numbers[start:], counts[start:]
        if fn == "min":
            return min(numbers), 1, leaves
        if fn == "max":
            return max(numbers), 1, leaves
        return sum(numbers), (sum(counts) if fn == "mean" else 1), leaves

    def evaluate(profile: Profile, clock: int) -> tuple[bool, int]:
        value, count, leaves = number(profile, clock)
        if value is None:
            return NO
        return all(holds(value, count) for holds in compares), leaves

    def measured(profile: Profile, clock: int) -> float | None:
        value, count, _ = number(profile, clock)
        return None if value is None else value / (count * MICROS)

    return Compiled(text, evaluate, slots=frozenset((key,)), measure=measured, threshold=threshold)


def distinct(text: str, key: int, window: int, low: int, high: int | None, threshold: Any) -> Compiled:
    """So many different values within the window (`Keyed` with one time a value)."""

    def lasts(profile: Profile) -> list[int]:
        return sorted(times[-1] for times in profile.slots.get(key, {}).values())

    return Compiled(
        text,
        lambda profile, clock: _count_truth(lasts(profile), clock, window, low, high),
        slots=frozenset((key,)),
        rising={key: 1} if high is None else {},  # the slot counts the events of each value, not the values
        measure=lambda profile, clock: _in_window(lasts(profile), clock, window),
        threshold=threshold,
    )


# --- traits -------------------------------------------------------------------------------------------------------


def trait(text: str, name: str, test: Test) -> Compiled:
    """A comparison of what is known of the customer."""

    def value(profile: Profile) -> Any:
        written = profile.traits.get(name)
        return written[0] if written else None

    return Compiled(
        text,
        _of_trait(value, test),
        traits=frozenset((name,)),
        measure=lambda profile, clock: value(profile),
        threshold=thresholds((test,)),
    )


def _of_trait(value: Callable[[Profile], Any], test: Test) -> Evaluate:
    """Whether what is known satisfies the test; only `within` may change by the clock alone."""
    if test.operator is Operator.WITHIN:
        window = int(test.operand)  # type: ignore[arg-type]

        def lately(profile: Profile, clock: int) -> tuple[bool, int]:
            at = moment_of(value(profile))
            if at is None or at + window <= clock:
                return NO
            return (True, at + window) if at <= clock else (False, at)

        return lately
    holds = compare(test.operator, test.operand)
    if test.operator is Operator.EXISTS:
        return lambda profile, clock: YES if holds(value(profile)) else NO

    def evaluate(profile: Profile, clock: int) -> tuple[bool, int]:
        known = value(profile)
        return YES if known is not None and holds(known) else NO

    return evaluate
