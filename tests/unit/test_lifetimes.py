"""BG/NBD with Gamma-Gamma: fitted to customers who behave as it says, it foretells what they do."""

import random

import pytest

from online_models.lifetimes import BuyTillYouDie, expected_orders, expected_value

HORIZON = 90.0


class Shop:
    """Customers who buy at a rate of their own until they are lost, as BG/NBD has it. Times in days."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)

    def customer(self) -> tuple[dict[str, float], float]:
        """What is known of one after up to a year, and what they spend in the horizon after it."""
        dice = self.dice
        rate, lost = dice.gammavariate(1.5, 1 / 45), dice.betavariate(1.2, 3.0)
        worth = dice.gammavariate(6, 1 / dice.gammavariate(4, 1 / 20))
        age = dice.uniform(60, 360)
        times, now, alive = [0.0], 0.0, True
        while alive and (now := now + dice.expovariate(rate)) < age + HORIZON:
            times.append(now)
            alive = dice.random() >= lost
        known = [time for time in times if time <= age]
        values = [max(0.01, dice.gauss(worth, worth / 5)) for _ in times]
        features = {
            "frequency": float(len(known)),
            "recency": age - known[-1],
            "age": age,
            "value": sum(values[: len(known)]) / len(known),
        }
        return features, sum(values[len(known) :])


def test_all_together_spend_what_it_foretells_and_those_it_ranks_first_spend_most() -> None:
    model, shop = BuyTillYouDie(HORIZON), Shop(1)
    for _ in range(1000):
        x, y = shop.customer()
        model.learn_one(x, y)
    told = sorted(((model.predict_one(x), y) for x, y in (shop.customer() for _ in range(1500))), reverse=True)
    foretold, spent = sum(one for one, _ in told), sum(one for _, one in told)
    assert foretold == pytest.approx(spent, rel=0.2)
    best = sum(one for _, one in told[:300])
    assert best > 2.5 * spent / 5, "the fifth that it ranks first spends far more than a fifth"


def test_who_bought_lately_is_expected_to_buy_more_than_who_has_long_been_silent() -> None:
    counting = [0.243, 4.414, 0.793, 2.426]
    assert expected_orders(counting, 4, 38, 39, 10) > 3 * expected_orders(counting, 4, 5, 39, 10)


def test_a_single_order_says_little_of_what_the_next_is_worth_and_many_say_much() -> None:
    spending = [6.25, 3.74, 15.45]
    all_spend = 6.25 * 15.45 / 2.74
    once, often = expected_value(spending, 1, 100.0), expected_value(spending, 20, 100.0)
    assert all_spend < once < often < 100.0


def test_it_says_nothing_before_it_has_seen_enough_and_of_who_never_bought() -> None:
    model, shop = BuyTillYouDie(HORIZON), Shop(2)
    x, y = shop.customer()
    model.learn_one(x, y)
    assert model.predict_one(x) == 0.0
    for _ in range(600):
        model.learn_one(*shop.customer())
    assert model.predict_one(x) > 0.0
    assert model.predict_one({"frequency": 0.0}) == 0.0
    assert model.predict_one({}) == 0.0


def test_the_same_customers_give_the_same_model() -> None:
    models = []
    for _ in range(2):
        model, shop = BuyTillYouDie(HORIZON), Shop(3)
        for _ in range(600):
            model.learn_one(*shop.customer())
        models.append((model.counting, model.spending))
    assert models[0] == models[1]
