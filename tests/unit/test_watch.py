"""Watches: what models want kept and to be told of, in the same plan as the segments."""

from types import SimpleNamespace

from profiles.event import Event
from profiles.profile import Profile
from rules.compiler import Compiler, compile_plan
from rules.definition import EventRef, Happened, Segment
from rules.step import step
from rules.watch import Watched

BOUGHT = Segment("bought", Happened(EventRef("Order"), within=100))


class Counts:
    """Watches the times of events with one name, and traits."""

    def __init__(self, event: str, *traits: str) -> None:
        self.event = event
        self.traits = frozenset(traits)
        self.slot = 0

    def attach(self, compiler: Compiler) -> Watched:
        self.slot = compiler.times(EventRef(self.event), 1000, 5)
        return Watched(frozenset((self.slot,)), self.traits)


def rules(*watches: Counts, segments: tuple[Segment, ...] = (BOUGHT,)) -> SimpleNamespace:
    return SimpleNamespace(version=1, code=3, plan=compile_plan(segments, watches=watches))


def take(
    profile: Profile | None, under: SimpleNamespace, name: str, time: int, **traits: object
) -> tuple[Profile, int]:
    event = Event(f"e{time}", name, time, "anna", traits=traits or None, received_at=time)
    profile, decision = step(profile, under, event, 0)
    assert profile is not None
    return profile, decision.watched


def test_a_watch_is_told_of_the_events_that_it_counts_and_of_no_others() -> None:
    views, orders = Counts("View"), Counts("Order")
    under = rules(views, orders)
    profile, watched = take(None, under, "View", 1000)
    assert watched == 0b01
    assert profile.slots[views.slot] == [1000]
    profile, watched = take(profile, under, "Order", 1001)
    assert watched == 0b10
    _, watched = take(profile, under, "Other", 1002)
    assert watched == 0


def test_it_is_told_of_the_traits_that_it_asks_for_when_they_change() -> None:
    under = rules(Counts("View", "country"))
    profile, watched = take(None, under, "identify", 1000, country="DE")
    assert watched == 1
    _, watched = take(profile, under, "identify", 1001, other="x")
    assert watched == 0


def test_segments_decide_the_same_with_a_watch_beside_them_and_share_its_slots() -> None:
    orders = Counts("Order")
    with_watch, without = rules(orders), rules()
    assert set(with_watch.plan.slots) == set(without.plan.slots) == {orders.slot}
    profile, _ = take(None, with_watch, "Order", 1000)
    assert profile.segments["bought"] == [1000, 1100]


def test_it_counts_where_there_are_no_segments_at_all() -> None:
    views = Counts("View")
    profile, watched = take(None, rules(views, segments=()), "View", 1000)
    assert watched == 1 and profile.slots[views.slot] == [1000]
