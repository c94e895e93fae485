"""What the oracle knows of numbers over time: rates, trends, shares, fading points, and how lately, how often and for how much."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction
from functools import lru_cache

from rules.definition import Affinity, Engagement, Rate, Rfm, Test, Trend
from tests.oracle_conditions import JUDGES, History, Judge, Seen, meant, within
from tests.oracle_values import exact, number_passes, values_of

FADED = 32
"""Of points in a half-life so many before the newest one nothing counts any more."""


def _summed(events: list[Seen], of: str | None) -> Fraction:
    """How many events, or the sum of every number at the path in any of them."""
    if of is None:
        return Fraction(len(events))
    numbers = [exact(value) for one in events for value in values_of(one.event, of)]
    return sum((one for one in numbers if one is not None), Fraction(0))


def _leaving(history: History, *after: int) -> Iterable[int]:
    return [one.at + length for one in history.seen for length in after]


def _rate_holds(rate: Rate, history: History, clock: int) -> bool:
    events = within(history.of(rate.ref, rate.within), rate.within, clock)
    return number_passes(_summed(events, rate.of) / Fraction(rate.within, rate.per), rate.tests)


def _trend_holds(trend: Trend, history: History, clock: int) -> bool:
    events = history.of(trend.ref, trend.within + trend.against)
    now = _summed(within(events, trend.within, clock), trend.of)
    before = _summed(within(events, trend.against, clock - trend.within), trend.of)
    if before <= 0:
        return False
    return number_passes(now / (before * Fraction(trend.within, trend.against)), trend.tests)


def _affinity_holds(affinity: Affinity, history: History, clock: int) -> bool:
    counted = {one.order: one for ref in affinity.among for one in history.of(ref, affinity.within)}
    events = within(list(counted.values()), affinity.within, clock)
    if len(events) < affinity.least:
        return False
    wanted = [one for one in events if any(meant(one.event, ref) for ref in affinity.to)]
    return number_passes(Fraction(len(wanted), len(events)), affinity.tests)


def points_left(engagement: Engagement, history: History, clock: int) -> Fraction:
    """Every event's points, halved for each half-life since: to the millionth, halves away from zero."""
    half_life = engagement.half_life
    given = [(one.at, points) for ref, points in engagement.points for one in history.of(ref, FADED * half_life)]
    newest = max((at // half_life for at, _ in given), default=0)
    counted = [(at, points) for at, points in given if newest - at // half_life < FADED]
    total = sum((Decimal(str(points)) * _halved(clock - at, half_life) for at, points in counted), Decimal(0))
    # What lies within a billionth of half-way is half-way: two to a fraction is never quite exact.
    return Fraction(total.quantize(Decimal("1e-9")).quantize(Decimal("0.000001"), ROUND_HALF_UP))


@lru_cache(10_000)
def _halved(passed: int, half_life: int) -> Decimal:
    with localcontext() as context:
        context.prec = 50
        return Decimal(2) ** (Decimal(-passed) / Decimal(half_life))


def _engagement_holds(engagement: Engagement, history: History, clock: int) -> bool:
    return number_passes(points_left(engagement, history, clock), engagement.tests)


def _engagement_moments(engagement: Engagement, history: History, clock: int) -> Iterable[int]:
    """The next moment at which the comparisons say something else, found by asking at each, as long as enough is left for any."""
    bounds = [
        one
        for test in engagement.tests
        for one in (test.operand if isinstance(test.operand, tuple) else (test.operand,))
    ]
    least = min((abs(Fraction(str(one))) for one in bounds), default=Fraction(0))
    now, at = _engagement_holds(engagement, history, clock), clock
    while abs(points_left(engagement, history, at)) >= max(least, Fraction(1, 1_000_000)):
        at += 1
        if _engagement_holds(engagement, history, at) != now:
            return [at]
    return []


def _rfm_holds(rfm: Rfm, history: History, clock: int) -> bool:
    events = within(history.of(rfm.ref, rfm.within), rfm.within, clock)
    recency = clock - max(one.at for one in events) if events else None
    values: dict[str, Fraction | int | None] = {
        "recency": recency,
        "frequency": len(events),
        "monetary": _summed(events, rfm.of),
    }
    fifths = {name: FIFTHS.get(name) if events else None for name in values}
    for test in rfm.tests:
        name = test.path.removesuffix("_score")
        value = values[name]
        if test.path != name:
            bounds = fifths[name]
            if bounds is None or value is None:
                return False
            above = sum(value > bound for bound in bounds)
            value = 5 - above if name == "recency" else 1 + above
        if value is None or not number_passes(value, (Test("", test.operator, test.operand),)):
            return False
    return True


FIFTHS: dict[str, tuple[Fraction, ...]] = {}
"""The bounds between the fifths of the population, by measure; none unless a test puts them here."""


def _rfm_moments(rfm: Rfm, history: History, clock: int) -> Iterable[int]:
    found = list(_leaving(history, rfm.within))
    for test in rfm.tests:
        bounds = test.operand if isinstance(test.operand, tuple) else (test.operand,)
        if test.path == "recency":
            found += _leaving(history, *(int(bound) + more for bound in bounds for more in (0, 1)))
    return found + list(_leaving(history, *(int(bound) + 1 for bound in FIFTHS.get("recency", ()))))


JUDGES[Rate] = Judge(
    _rate_holds,
    refs=lambda rate: [rate.ref],
    reach=lambda rate, event: rate.within,
    moments=lambda rate, history, clock: _leaving(history, rate.within),
)
JUDGES[Trend] = Judge(
    _trend_holds,
    refs=lambda trend: [trend.ref],
    reach=lambda trend, event: trend.within + trend.against,
    moments=lambda trend, history, clock: _leaving(history, trend.within, trend.within + trend.against),
)
JUDGES[Affinity] = Judge(
    _affinity_holds,
    refs=lambda affinity: list(affinity.among),
    reach=lambda affinity, event: affinity.within,
    moments=lambda affinity, history, clock: _leaving(history, affinity.within),
)
JUDGES[Engagement] = Judge(
    _engagement_holds,
    refs=lambda engagement: [ref for ref, _ in engagement.points],
    reach=lambda engagement, event: FADED * engagement.half_life,
    moments=_engagement_moments,
)
JUDGES[Rfm] = Judge(
    _rfm_holds,
    refs=lambda rfm: [rfm.ref],
    reach=lambda rfm, event: rfm.within,
    moments=_rfm_moments,
)
