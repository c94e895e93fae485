"""Local time: every half hour of two years in zones that disagree, against a clock that is simply read."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from profiles import NEVER
from profiles.zones import zone
from rules.calendar import DAY, Calendar, offset, stretches
from rules.definition import During
from tests.oracle_clock import stands_in

BEGIN = int(datetime(2023, 12, 25, tzinfo=UTC).timestamp()) * 1000
END = BEGIN + 735 * DAY
"""Two years and a few days: a leap day, two turns of the year, four changes of the clock."""

HALF_HOUR = 1_800_000
ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Atlantic/Azores",
    "Africa/Casablanca",
)
"""Lord Howe moves its clock by half an hour, the Azores have no midnight in spring, Casablanca changes around Ramadan."""


def days(first: str, last: str) -> tuple[int, int]:
    return date.fromisoformat(first).toordinal(), date.fromisoformat(last).toordinal()


DURINGS = {
    "office hours": During((0, 1, 2, 3, 4), ((9 * 60, 17 * 60),)),
    "the hour that spring leaves out and autumn repeats": During((6,), ((120, 180),)),
    "halves of hours": During((), ((30, 90), (1410, 1440))),
    "weekend nights": During((4, 5), ((22 * 60, 4 * 60),)),
    "mondays": During((0,)),
    "leap day, and the turns of the year": During(
        (), (), (days("2024-02-29", "2024-02-29"), days("2024-12-31", "2025-01-01"))
    ),
    "nights before Christmas": During((), ((18 * 60, 120),), (days("2024-12-01", "2024-12-24"),)),
    "the nights of the change": During(
        (), ((1380, 240),), (days("2024-03-30", "2024-03-30"), days("2024-10-26", "2024-11-02"))
    ),
}


@cache
def truths(name: str, place: str) -> list[bool]:
    """What a clock on the wall shows, every half hour."""
    return [stands_in(DURINGS[name], ZoneInfo(place), time) for time in range(BEGIN, END, HALF_HOUR)]


@pytest.mark.parametrize("place", ZONES)
@pytest.mark.parametrize("name", DURINGS)
def test_every_half_hour_of_two_years(name: str, place: str) -> None:
    calendar, where = Calendar(DURINGS[name]), ZoneInfo(place)
    assert [calendar.holds(where, time) for time in range(BEGIN, END, HALF_HOUR)] == truths(name, place)


@pytest.mark.parametrize("place", ZONES)
@pytest.mark.parametrize("name", DURINGS)
def test_from_one_change_to_the_next(name: str, place: str) -> None:
    """Each change is foretold to the millisecond, none is left out, and few looks are for nothing."""
    calendar, where, expected = Calendar(DURINGS[name]), ZoneInfo(place), truths(name, place)
    clock, found, looks = BEGIN, [], 0
    while clock < END:
        truth, until = calendar.now(where, clock)
        assert truth == stands_in(DURINGS[name], where, clock)
        assert until > clock
        looks += 1
        if until < END and stands_in(DURINGS[name], where, until) != truth:
            assert stands_in(DURINGS[name], where, until - 1) == truth
            found.append(until)
        clock = until
    changed = [BEGIN + at * HALF_HOUR for at in range(1, len(expected)) if expected[at] != expected[at - 1]]
    # All these zones change on half hours of UTC, but Kathmandu's quarter of an hour: seen at the next half hour.
    assert [-(-moment // HALF_HOUR) * HALF_HOUR for moment in found] == changed
    assert looks <= len(found) + 12


def test_spring_leaves_an_hour_out_and_autumn_repeats_one() -> None:
    calendar, berlin = Calendar(During((), ((150, 165),))), ZoneInfo("Europe/Berlin")  # 2:30 to 2:45

    def moments(year: int, month: int, day: int) -> list[str]:
        at = int(datetime(year, month, day, tzinfo=UTC).timestamp()) * 1000
        found = []
        clock = at
        while clock < at + DAY:
            _, clock = calendar.now(berlin, clock)
            if clock < at + DAY:
                found.append(datetime.fromtimestamp(clock / 1000, UTC).strftime("%H:%M"))
        return found

    assert moments(2024, 3, 30) == ["01:30", "01:45"]
    assert moments(2024, 3, 31) == []
    assert moments(2024, 4, 1) == ["00:30", "00:45"]
    assert moments(2024, 10, 27) == ["00:30", "00:45", "01:30", "01:45"]


def test_a_change_of_offset_is_found_to_the_millisecond() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    change = int(datetime(2024, 3, 31, 1, tzinfo=UTC).timestamp()) * 1000
    assert stretches(berlin, change // DAY) == ((change // DAY * DAY, 3_600_000), (change, 7_200_000))
    assert (offset(berlin, change - 1), offset(berlin, change)) == (3_600_000, 7_200_000)


def test_a_whole_day_that_a_zone_leaves_out() -> None:
    """Samoa went from the 29th to the 31st of December 2011: a Friday that never was."""
    apia, calendar = ZoneInfo("Pacific/Apia"), Calendar(During((4,), (), (days("2011-12-26", "2012-01-01"),)))
    begin = int(datetime(2011, 12, 20, tzinfo=UTC).timestamp()) * 1000
    assert not any(calendar.holds(apia, begin + hour * 3_600_000) for hour in range(20 * 24))


def test_what_is_over_never_comes_back_and_what_always_holds_never_ends() -> None:
    berlin, now = ZoneInfo("Europe/Berlin"), int(datetime(2026, 3, 2, tzinfo=UTC).timestamp()) * 1000
    assert Calendar(During((), (), (days("2025-01-01", "2025-12-31"),))).now(berlin, now) == (False, NEVER)
    assert Calendar(During((), ((540, 1020),), (days("2025-01-01", "2025-12-31"),))).now(berlin, now) == (False, NEVER)
    assert Calendar(During()).now(berlin, now) == (True, NEVER)


@pytest.mark.parametrize("clock", [-1, -(2**62), 2**63 - 2, 253_402_300_799_999])
def test_beyond_the_calendar_nothing_holds(clock: int) -> None:
    truth, until = Calendar(During((), ((540, 1020),))).now(ZoneInfo("Europe/Berlin"), clock)
    assert not truth
    assert until > clock


def test_a_far_date_takes_few_looks() -> None:
    """A rule for one week in ten years must not wake every customer each week until then."""
    berlin, clock = ZoneInfo("Europe/Berlin"), BEGIN
    calendar, looks = Calendar(During((0, 2), ((540, 1020),), (days("2033-12-05", "2033-12-11"),))), 0
    while clock < NEVER:
        clock = calendar.now(berlin, clock)[1]
        looks += 1
    assert looks <= 8


def test_zones_change_not_twice_within_an_hour() -> None:
    """What `stretches` builds on, in zones that have changed their minds often."""
    hour = timedelta(hours=1)
    for name in ZONES + (
        "Pacific/Apia",
        "America/Caracas",
        "Asia/Pyongyang",
        "Europe/Istanbul",
        "Antarctica/Troll",
        "Africa/Juba",
    ):
        place = zone(name)
        assert place is not None
        at = datetime(2015, 1, 1, tzinfo=UTC)
        changes = []
        while at < datetime(2022, 1, 1, tzinfo=UTC):
            if at.astimezone(place).utcoffset() != (at + hour).astimezone(place).utcoffset():
                changes.append(at)
            at += hour
        assert all(later - sooner > 24 * hour for sooner, later in pairwise(changes))


@pytest.mark.parametrize(
    "name", ["", "Mars/Olympus", "../etc/passwd", "europe/berlin ", "Europe", "posix/Europe/Berlin", "x" * 10_000]
)
def test_what_is_no_zone(name: str) -> None:
    assert zone(name) is None
