"""Personas: clusters whose identities stay as they move, that split, are born and die, and that customers do not flap between."""

import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import davies_bouldin_score, silhouette_score

from online_models import making
from online_models.definition import PersonaRule
from online_models.parse import parse_models
from online_models.personas.clusterers import Kind
from online_models.personas.components import Components
from online_models.personas.identities import matched
from online_models.personas.living import Personas
from online_models.personas.mixture import Mixture
from online_models.personas.naming import declared, described
from online_models.personas.separation import davies_bouldin, distances, silhouette
from profiles import Event
from rules.definition import Cluster, Segment
from rules.step import Timer
from tests.properties.delivery import Customer, rules

T = 1_700_000_000_000
BARGAINS = ("bargain-hunters", (("promo", 1), ("spend", -1)))
GROUPS = """
model: groups
task: clustering
features: [{monetary: {within: 90d, as: promo}}, {monetary: {within: 30d, as: spend}}]
candidates: [{name: one, pipeline: [KMeans]}]
personas: {names: {bargain-hunters: {promo: high, spend: low}}}
"""
RULE = PersonaRule(2, 5, (BARGAINS,))

Customers = Callable[[random.Random], dict[str, float]]


def groups(*centres: tuple[float, float]) -> Customers:
    """Customers around these centres, each as likely: how much they react to promotions, and what they spend."""

    def one(dice: random.Random) -> dict[str, float]:
        promo, spend = dice.choice(centres)
        return {"promo": dice.gauss(promo, 0.3), "spend": dice.gauss(spend, 3.0)}

    return one


THREE = groups((0.0, 20.0), (5.0, 20.0), (0.0, 90.0))


def learnt(personas: Personas, customers: Customers, count: int, seed: int = 1) -> list[dict[str, object]]:
    dice = random.Random(seed)
    return [event for _ in range(count) for event in personas.learn_one(customers(dice))]


@pytest.mark.parametrize("kind", ["KMeans", "Mixture"])
def test_it_finds_how_many_groups_there_are_and_puts_customers_into_them(kind: Kind) -> None:
    personas = Personas(kind, RULE)
    events = learnt(personas, THREE, 700)
    assert personas.report()["clusters"] == 3
    assert [event["kind"] for event in events] == ["persona birth"] * 3
    middle = [
        personas.predict_one({"promo": promo, "spend": spend})
        for promo, spend in ((0.0, 20.0), (5.0, 20.0), (0.0, 90.0))
    ]
    assert len(set(middle)) == 3
    assert middle[1] == "bargain-hunters", "they react to promotions, and spend little"
    assert personas.report()["silhouette"] > 0.6


def test_dbstream_finds_the_groups_by_their_density() -> None:
    personas = Personas("DBSTREAM", RULE, DENSE)
    learnt(personas, THREE, 700)
    assert personas.report()["clusters"] >= 3
    assert personas.predict_one({"promo": 5.0, "spend": 20.0}) != personas.predict_one({"promo": 0.0, "spend": 90.0})


def test_before_enough_examples_have_come_nobody_is_told_from_anybody() -> None:
    personas = Personas("KMeans", RULE)
    assert learnt(personas, THREE, 499) == []
    assert personas.predict_one({"promo": 0.0, "spend": 20.0}) is None
    assert [one["kind"] for one in learnt(personas, THREE, 400)] == ["persona birth"] * 3, "then all at once"


DENSE = {"clustering_threshold": 0.6, "fading_factor": 0.001, "cleanup_interval": 50, "intersection_factor": 0.3}


def corners(dice: random.Random, count: int) -> Customers:
    """Customers in so many of the corners of a cube, groups of different sizes, each with a few features that say nothing."""
    places = dice.sample([(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)], count)
    sizes = [dice.uniform(0.5, 1.5) for _ in places]

    def one(dice: random.Random) -> dict[str, float]:
        (place,) = dice.choices(places, sizes)
        return {name: dice.gauss(10 * at, 1.0) for name, at in zip("abc", place, strict=True)} | {"always": 4.0}

    return one


def stationary(kind: Kind, seed: int) -> tuple[Personas, list[dict[str, object]], int]:
    """Personas after 6,000 customers of 3 to 5 groups, what was told of them, and how often one of 50 customers changed."""
    customers = corners(random.Random(seed), 3 + seed % 3)
    personas = Personas(kind, PersonaRule(2, 6), DENSE if kind == "DBSTREAM" else None)
    dice = random.Random(seed + 100)
    told, flaps, last = [], 0, dict[int, str]()
    regulars = [customers(dice) for _ in range(50)]
    for number in range(6_000):
        told += personas.learn_one(customers(dice))
        if number % 200 == 0:
            for at, one in enumerate(regulars):
                said = personas.predict_one(one, last.get(at))
                flaps += at in last and said != last[at]
                last |= {at: said} if said else {}
    return personas, told, flaps


@pytest.mark.parametrize("kind", ["KMeans", "Mixture"])
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 6))])
def test_where_nothing_changes_nobody_is_born_and_nobody_dies(kind: Kind, seed: int) -> None:
    personas, told, flaps = stationary(kind, seed)
    assert len(told) == len(personas.published) == 3 + seed % 3
    assert {event["kind"] for event in told} == {"persona birth"}
    assert flaps == 0, "nor does anybody change who has not changed"


# With seed 0 a feature is noise in all groups alike, and there is nowhere where customers are dense.
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 6))
def test_where_nothing_changes_density_may_err_once(seed: int) -> None:
    _, told, _ = stationary("DBSTREAM", seed)
    births = [event for event in told if event["examples"] == told[0]["examples"]]
    assert {event["kind"] for event in births} == {"persona birth"} and len(births) == 3 + seed % 3
    assert len(told) - len(births) <= 1


@pytest.mark.parametrize("kind", ["KMeans", "Mixture"])
def test_a_cluster_that_goes_far_keeps_its_id_and_its_name(kind: Kind) -> None:
    """Over ten times its width, so that the space is laid out anew several times; past nobody else."""
    personas = Personas(kind, PersonaRule(2, 5))
    learnt(personas, THREE, 900)
    before = {one.name: one.id for one in personas.published}
    spenders = personas.predict_one({"promo": 0.0, "spend": 90.0})
    events = []
    for number in range(1, 41):
        events += learnt(personas, groups((0.0, 20.0), (5.0, 20.0), (0.0, 90.0 + 10 * number)), 200, seed=number)
    assert events == []
    assert {one.name: one.id for one in personas.published} == before
    assert personas.predict_one({"promo": 0.0, "spend": 490.0}) == spenders


def test_a_cluster_that_moves_keeps_its_id_and_its_name() -> None:
    personas = Personas("KMeans", PersonaRule(3, 3))
    learnt(personas, THREE, 500)
    before = {one.name: one.id for one in personas.published}
    spenders = personas.predict_one({"promo": 0.0, "spend": 90.0})
    for number in range(1, 11):
        events = learnt(personas, groups((0.0, 20.0), (5.0, 20.0), (0.0, 90.0 + 4 * number)), 200, seed=number)
        assert events == []
    assert {one.name: one.id for one in personas.published} == before
    assert personas.predict_one({"promo": 0.0, "spend": 130.0}) == spenders


def test_a_group_that_appears_is_born_and_one_that_goes_dies_each_told_once() -> None:
    personas = Personas("KMeans", PersonaRule(2, 5), every=100)
    learnt(personas, groups((0.0, 20.0), (5.0, 90.0)), 900)
    kept = {one.id for one in personas.published}
    assert len(kept) == 2
    born = learnt(personas, groups((0.0, 20.0), (5.0, 90.0), (5.0, 20.0)), 3000, seed=2)
    assert [event["kind"] for event in born] == ["persona split"], "so far its customers were counted among others"
    assert len(personas.published) == 3
    assert kept < {one.id for one in personas.published}, "the two of before are still who they were"
    died = learnt(personas, groups((0.0, 20.0), (5.0, 90.0)), 3000, seed=3)
    assert [(event["kind"], event["id"]) for event in died] == [("persona death", born[0]["id"])]
    assert {one.id for one in personas.published} == kept


@pytest.mark.slow
def test_one_that_comes_back_where_it_has_died_is_who_it_was_and_only_for_so_long() -> None:
    two, three = groups((0.0, 20.0), (5.0, 90.0)), groups((0.0, 20.0), (5.0, 90.0), (5.0, 20.0))
    for returns, kind in ((10_000, "persona return"), (1_000, "persona split")):
        personas = Personas("KMeans", PersonaRule(2, 5, returns=returns), every=100)
        before = learnt(personas, three, 900)
        (died,) = learnt(personas, two, 3000, seed=2)
        (back,) = learnt(personas, three, 3000, seed=3)
        assert (died["kind"], back["kind"]) == ("persona death", kind)
        assert (back["id"] == died["id"]) == (kind == "persona return")
        assert kind != "persona return" or back["name"] == died["name"]
        assert len(before) == 3


@pytest.mark.slow
@settings(max_examples=10)
@given(
    st.sampled_from(("KMeans", "Mixture", "DBSTREAM")),
    st.lists(
        st.sets(st.sampled_from([(0, 20), (5, 90), (5, 20), (0, 90), (12, 50)]), min_size=1), min_size=2, max_size=3
    ),
    st.integers(0, 1000),
)
def test_events_tell_all_that_becomes_of_personas(kind: Kind, phases: list[set[tuple[int, int]]], seed: int) -> None:
    personas = Personas(
        kind, PersonaRule(2, 5, (BARGAINS,), first=200), DENSE if kind == "DBSTREAM" else None, every=50
    )
    alive: dict[int, str] = {}
    dead: dict[int, str] = {}
    for number, phase in enumerate(phases):
        for event in learnt(personas, groups(*sorted(phase)), 500, seed=seed + number):
            own, name = int(str(event["id"])), str(event["name"])
            match event["kind"]:
                case "persona birth" | "persona split":
                    assert own not in alive and own not in dead
                    assert name not in dead.values() or name == BARGAINS[0]
                    alive[own] = name
                case "persona return":
                    del dead[own]
                    alive[own] = name
                case "persona death":
                    dead[own] = alive.pop(own)
                case "persona renaming":
                    # Told behind births, of which it may be the name already.
                    alive[own] = name
                case other:
                    pytest.fail(f"{other} is no event")
        assert alive == {one.id: one.name for one in personas.published}
        assert len(set(alive.values())) == len(alive)
        assert {one.id for one in personas.gone} == set(dead)


def test_a_group_that_falls_apart_is_told_as_a_split_once() -> None:
    personas = Personas("KMeans", PersonaRule(2, 5), every=100)
    learnt(personas, groups((0.0, 20.0), (5.0, 90.0), (5.0, 90.0)), 900)
    (low,) = (one for one in personas.published if one.centre["spend"] > 50)
    events = learnt(personas, groups((0.0, 20.0), (5.0, 70.0), (5.0, 110.0)), 3000, seed=2)
    assert [(event["kind"], event["of"]) for event in events] == [("persona split", low.name)]
    assert low.id in {one.id for one in personas.published}


def test_who_stands_between_two_groups_stays_where_they_are() -> None:
    personas = Personas("KMeans", PersonaRule(2, 2))
    learnt(personas, groups((0.0, 20.0), (6.0, 20.0)), 500)
    left, right = (
        personas.predict_one({"promo": 0.0, "spend": 20.0}),
        personas.predict_one({"promo": 6.0, "spend": 20.0}),
    )
    dice = random.Random(9)
    nearly = [{"promo": 3.0 + dice.uniform(-0.15, 0.15), "spend": 20.0} for _ in range(50)]
    alone = {personas.predict_one(one) for one in nearly}
    assert alone == {left, right}, "without a memory they would flap"
    for side in (left, right):
        assert {personas.predict_one(one, side) for one in nearly} == {side}
    assert personas.predict_one({"promo": 5.0, "spend": 20.0}, left) == right


def test_the_same_examples_give_the_same_personas() -> None:
    one, other = Personas("Mixture", RULE), Personas("Mixture", RULE)
    assert learnt(one, THREE, 900) == learnt(other, THREE, 900)
    assert one.published == other.published and one.report() == other.report()


@pytest.mark.parametrize("kind", ["KMeans", "Mixture", "DBSTREAM"])
def test_what_was_kept_goes_on_as_if_it_had_never_been_stopped(kind: Kind) -> None:
    (model,) = parse_models({"groups.yaml": GROUPS.replace("KMeans", kind)})
    one, other = (making.make(model, model.candidates[0]) for _ in range(2))
    dice = random.Random(7)
    customers = groups((0.0, 20.0), (5.0, 20.0), (0.0, 90.0))
    for number in range(1_500):
        row = list(customers(dice).values())
        for each in (one, other):
            each.learn(row, None, 1.0)
        if number in (150, 450, 700, 1_333):
            other = making.decode(model, model.candidates[0], making.encode(other))
    assert one.predict([0.0, 20.0]) is not None
    assert making.encode(one) == making.encode(other)


def test_a_persona_that_is_no_more_is_no_score_for_whoever_asks_again() -> None:
    """A rule asks for a name: false for who belongs to another persona, `when_missing` once the score is too old or was never there."""
    personas = Personas("KMeans", PersonaRule(2, 5), every=100)
    customer = {"promo": 5.0, "spend": 20.0}
    learnt(personas, groups((0.0, 20.0), (5.0, 90.0), (5.0, 20.0)), 900)
    name = personas.predict_one(customer)
    learnt(personas, groups((0.0, 20.0), (5.0, 90.0)), 3000, seed=2)
    after = personas.predict_one(customer, name)
    assert name is not None and after not in (None, name)
    for missing in (False, True):
        asks = rules([Segment("asks", Cluster("personas", (name,), 100, missing))])
        for scores, expected in (({"personas": name}, True), ({"personas": after}, False), ({}, missing)):
            who = Customer(asks)
            who.apply(Event(id="m1", name="A", event_time=T, customer="c", received_at=T), 0, scores)
            assert (who.members == {"asks"}) == expected
        stale = Customer(asks)
        stale.apply(Event(id="m1", name="A", event_time=T, customer="c", received_at=T), 0, {"personas": name})
        stale.apply(Timer(T + 99), T + 99)
        assert stale.members == {"asks"}
        stale.apply(Timer(T + 100), T + 100)
        assert (stale.members == {"asks"}) == missing, "after `max_age`, also where nobody has asked the model again"


def test_reasons_name_the_feature_that_tells_them_from_the_next() -> None:
    personas = Personas("KMeans", PersonaRule(2, 2))
    learnt(personas, groups((0.0, 20.0), (6.0, 20.0)), 500)
    reasons = personas.reasons({"promo": 6.0, "spend": 20.0})
    assert reasons[0][0] == "promo" and reasons[0][1] > abs(reasons[1][1])


def test_components_bring_many_features_that_say_one_thing_down_to_few() -> None:
    dice = random.Random(4)
    components = Components(2)
    for _ in range(2000):
        common, other = dice.gauss(0, 3), dice.gauss(0, 1)
        components.learn_one({0: common + dice.gauss(0, 0.1), 1: common + dice.gauss(0, 0.1), 2: other})
    first = components.directions[0]
    length = sum(value**2 for value in first.values()) ** 0.5
    assert abs(abs(first[0] / length) - 0.5**0.5) < 0.03 and abs(first[2] / length) < 0.05
    assert set(components.transform_one({0: 1.0, 1: 1.0, 2: 0.0})) == {0, 1}


def test_personas_can_be_told_in_components() -> None:
    personas = Personas("KMeans", PersonaRule(3, 3), components=2)
    learnt(personas, THREE, 700)
    named = {
        personas.predict_one({"promo": promo, "spend": spend})
        for promo, spend in ((0.0, 20.0), (5.0, 20.0), (0.0, 90.0))
    }
    assert len(named) == 3


def test_a_mixture_tells_a_wide_group_from_a_narrow_one_in_its_middle() -> None:
    dice = random.Random(5)
    mixture = Mixture(2)
    mixture.centers = {0: {0: 0.5}, 1: {0: 3.0}}
    for _ in range(4000):
        mixture.learn_one({0: dice.gauss(0, 0.2) if dice.random() < 0.5 else dice.gauss(0, 4.0)})
    narrow, wide = sorted(mixture.variances, key=lambda number: mixture.variances[number][0])
    assert mixture.predict_one({0: 0.1}) == narrow and mixture.predict_one({0: 6.0}) == wide


# --- identities, names and separation ------------------------------------------------------------------------------


def test_merged_clusters_die_into_the_one_that_goes_on() -> None:
    same, events = matched([1, 1, 1, 2, 2], [5, 5, 5, 5, 5])
    assert same == {5: 1}
    assert events == [{"kind": "death", "cluster": 2, "into": 1}]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.permutations(range(5)))
def test_clusters_that_are_only_numbered_otherwise_are_the_same(before: list[int], numbers: list[int]) -> None:
    same, events = matched(before, [numbers[one] for one in before])
    assert same == {numbers[one]: one for one in set(before)} and events == []


def test_a_declared_name_is_for_the_cluster_that_it_fits_best() -> None:
    looks = {1: {"promo": 1.4, "spend": -0.6}, 2: {"promo": 0.7, "spend": -0.3}, 3: {"promo": -0.5, "spend": 1.0}}
    assert declared(looks, RULE, {}) == {1: "bargain-hunters"}
    assert declared({2: looks[2], 3: looks[3]}, RULE, {}) == {2: "bargain-hunters"}
    assert declared({3: looks[3]}, RULE, {}) == {}
    assert declared(looks, RULE, {2: "bargain-hunters"}) == {1: "bargain-hunters"}, "much better than who has it"
    looks[1] = {"promo": 0.8, "spend": -0.5}
    assert declared(looks, RULE, {2: "bargain-hunters"}) == {2: "bargain-hunters"}, "who has it keeps it"


def test_a_name_does_not_fit_by_one_feature_alone_nor_by_what_nobody_knows() -> None:
    assert declared({1: {"promo": 0.0, "spend": -2.0}}, RULE, {}) == {1: "bargain-hunters"}
    assert declared({1: {"promo": -0.01, "spend": -2.0}}, RULE, {}) == {}
    assert declared({1: {"promo": -0.29, "spend": -2.0}}, RULE, {1: "bargain-hunters"}) == {1: "bargain-hunters"}
    assert declared({1: {"promo": -0.31, "spend": -2.0}}, RULE, {1: "bargain-hunters"}) == {}
    assert declared({1: {"spend": -2.0}}, RULE, {}) == {}


def test_other_names_are_made_of_what_sets_them_apart_and_none_is_there_twice() -> None:
    looks = {"promo": 1.4, "spend": -0.6}
    assert described(looks, RULE, set(), 2) == "high-promo-low-spend"
    assert described(looks, RULE, {"high-promo-low-spend"}, 3) == "high-promo-low-spend-3"
    assert described({"promo": 0.1, "spend": 0.2}, RULE, set(), 4) == "high-spend-high-promo"


@given(st.integers(0, 1000), st.integers(2, 4))
def test_silhouette_and_davies_bouldin_equal_those_of_scikit_learn(seed: int, clusters: int) -> None:
    dice = np.random.default_rng(seed)
    points = dice.normal(size=(40, 3))
    labels = dice.integers(0, clusters, size=40)
    if len(set(labels.tolist())) < 2:
        return
    assert silhouette(distances(points), labels) == pytest.approx(silhouette_score(points, labels), abs=1e-6)
    assert davies_bouldin(points, labels) == pytest.approx(davies_bouldin_score(points, labels), abs=1e-6)
