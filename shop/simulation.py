"""A simulated shop: endless, seeded traffic of customers who browse, buy, abandon carts and read mail.

`simulate` gives first the *history* (intended times before `start`, to be sent as fast as may be) and then, without a seam,
the *live* part (intended times from `start` on, to be sent at those times) at a chosen rate. In the history people take their
time; in the live part more of them come than in life, so that there is something to see. Some customers of the history fall
silent at such moments that limits which take days (30 minutes and 24 hours after a cart, 7 days after a look, 30 and 90 days
after an order) are crossed in the first minutes of the live part, a few of each kind every minute.

Times are epoch milliseconds. Nothing reads a clock: the same arguments give the same bytes.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator
from datetime import date
from typing import Final

import msgspec

from shop.people import DAY, HOUR, PERSONAS, Customer, Persona, Product, make_customer, make_products
from shop.visits import IDENTIFY, PAGE, Script, Writer, dirt

MINUTE: Final = 60_000
_WARM_UP: Final = 30_000
"""Live visits begin this long before `start`, so that the rate is reached when the live part begins."""

_PLANTED_WINDOW: Final = 30 * MINUTE
_HISTORY_GAP: Final = 20_000.0
_MAILS_A_DAY: Final = 0.5
_VISIT, _MAIL, _STEP, _CROWD = range(4)


class Delivery(msgspec.Struct, frozen=True, gc=False):
    """One record on its way to Kafka.

    `at` is when it reaches Kafka (epoch ms): the time to send it, and the record's timestamp. `label` is None for a
    first, proper, punctual record, else what is wrong with it: `duplicate`, `straggler` (later than the bound of disorder),
    or `dirt: <kind>`; it is for tests and is not sent.
    """

    at: int
    key: bytes | None
    value: bytes
    label: str | None = None


def simulate(
    seed: int,
    customers: int,
    start: int,
    *,
    days: float = 8.0,
    rate: float = 20.0,
    until: int | None = None,
    disorder: int = 5_000,
    stragglers: float = 0.0005,
    duplicates: float = 0.005,
    dirty: float = 0.002,
    oversize: bool = False,
    past: bool = True,
    turn: int | None = None,
) -> Iterator[Delivery]:
    """Deliveries in the order of `at`: the history of `days` before `start`, then live traffic from `start` on.

    Args:
        seed: the same seed (and arguments) gives the same bytes.
        customers: how many there are at first; live traffic brings a few new ones. At least 20.
        start: where history ends and live begins, epoch ms.
        days: length of the dense history; 0 for none.
        rate: events a second in the live part (mean; duplicates and dirt come on top).
        until: end of the live part, epoch ms; `start` gives the history only, None never ends.
        disorder: bound of the delay between an event and its delivery, ms; most arrive within a tenth of it.
        stragglers: share of events that are delayed beyond the bound, by up to an hour.
        duplicates: share of events that are delivered twice.
        dirty: records that are no events, as a share of events.
        oversize: whether dirt includes records of 900 kB.
        turn: from this moment on (epoch ms) those who mostly order what is in their cart mostly do not, and the others do; None: never.
        past: whether some customers bought up to half a year before `start` (sparse, before the dense history).
    """
    if customers < 20:
        raise ValueError("a shop needs at least 20 customers")
    if rate <= 0 or disorder < 10:
        raise ValueError("rate must be above 0, disorder at least 10 ms")
    shop = _Shop(seed, customers, start, days, rate, past, turn)
    return _deliver(shop, seed, until, disorder, stragglers, duplicates, dirty, oversize)


class _Shop:
    """The events in order of event time, as they happen; `_deliver` loses, repeats and delays them on their way."""

    def __init__(
        self, seed: int, customers: int, start: int, days: float, rate: float, past: bool, turn: int | None
    ) -> None:
        self.chance = random.Random(f"shop {seed}")
        self.seed = seed
        self.start = start
        self.rate = rate
        self.turn = turn
        self.begin = start - int(days * DAY)
        self.products: list[Product] = make_products(self.chance)
        self.writer = Writer(self.chance, self.products)
        self.people: list[Customer] = []
        self.limit = customers * 2
        # What happens next: (time, tie-breaker, what, customer, device, script, position, mean gap).
        self.agenda: list[tuple[int, int, int, Customer, int, Script, int, float]] = []
        self.serial = 0
        self.planned = 0
        # So many visits at once that no customer has to be in two: fewer people must hurry at a high rate.
        self.live_gap = min(2_500.0, 500.0 * customers / rate)
        self._populate(customers, past)
        self._weights = self._cumulative()
        self._put(start - _WARM_UP, _CROWD, self.people[0])

    def _put(
        self, time: int, what: int, customer: Customer, device: int = 0, script: Script | None = None, gap: float = 0
    ) -> None:
        self.serial += 1
        heapq.heappush(self.agenda, (time, self.serial, what, customer, device, script or [], 0, gap))

    def _populate(self, count: int, past: bool) -> None:
        planted = min(int(count * 0.4), 2_000)
        for number in range(count):
            if number < planted:
                self._plant(number, planted, past)
                continue
            persona = _choose(self.chance.random())
            customer = self._new_customer(persona)
            if persona.name == "lapsed":
                if past:
                    for age in sorted(
                        (self.chance.uniform(92, 180) for _ in range(2 + int(self.chance.random() * 2))), reverse=True
                    ):
                        self._happen(self.start - int(age * DAY), customer, self.writer.purchase(customer))
            else:
                first = max(self.begin, self.start - 6 * DAY) if persona.name == "newcomer" else self.begin
                if first < self.start - _WARM_UP:
                    self._put(self._next_visit(first, customer), _VISIT, customer)
                    if customer.consent:
                        self._put(first + int(self.chance.expovariate(_MAILS_A_DAY / DAY)), _MAIL, customer)

    def _plant(self, number: int, planted: int, past: bool) -> None:
        """A customer whose silence crosses a limit in the live part, the denser the nearer to its start."""
        kinds = ("cart 30m", "cart 24h", "view 7d", "order 30d", "order 90d")
        kind = kinds[number % len(kinds)]
        share = (number // len(kinds) + self.chance.random()) / max(1, planted // len(kinds))
        crossing = self.start + int(_PLANTED_WINDOW * min(share, 1.0) ** 2)
        persona = PERSONAS[4] if kind.startswith("order") else PERSONAS[3] if kind.startswith("cart") else PERSONAS[0]
        customer = self._new_customer(persona)
        customer.silent_until = crossing + 5 * MINUTE
        if kind.startswith("cart"):
            moment = crossing - (30 * MINUTE if kind == "cart 30m" else DAY)
            script = self.writer.abandoned_cart(customer, 3 + number % 3)
        elif kind == "view 7d":
            moment, script = crossing - 7 * DAY, self.writer.single_view(customer)
        elif past:
            moment, script = crossing - (30 if kind == "order 30d" else 90) * DAY, self.writer.purchase(customer)
            earlier = moment - int(self.chance.uniform(5, 60) * DAY)
            self._happen(earlier, customer, self.writer.purchase(customer))
        else:
            return
        if past or moment >= self.begin:
            self._happen(moment, customer, script)

    def _happen(self, last: int, customer: Customer, script: Script) -> None:
        """A visit whose last step is at `last`, to the millisecond."""
        device = self._device(customer)
        for index, step in enumerate(script):
            before = (len(script) - 1 - index) * 9_000
            self._put(last - before, _STEP, customer, device, [step])

    def _new_customer(self, persona: Persona) -> Customer:
        customer = make_customer(self.chance, len(self.people), persona, self.products)
        self.people.append(customer)
        return customer

    def _cumulative(self) -> list[float]:
        total, weights = 0.0, []
        for customer in self.people:
            total += customer.persona.visits or 0.05
            weights.append(total)
        return weights

    def _device(self, customer: Customer) -> int:
        if self.chance.random() < customer.persona.mobile:
            return 0
        return 1 + int(self.chance.random() * (len(customer.devices) - 1))

    def _next_visit(self, after: int, customer: Customer) -> int:
        """The next time this customer comes by themselves: at a likely hour of their day."""
        time = after
        for _ in range(20):
            time += int(self.chance.expovariate(customer.persona.visits * 1.6 / DAY)) + 1
            if _likely(time, customer) or self.chance.random() < 0.12:
                break
        return time

    def events(self) -> Iterator[tuple[int, Customer, int, str, str, str]]:
        """(event time, customer, device, name, content, addition to the context), endless and in order of time."""
        agenda, draw, log = self.agenda, self.chance.random, self.chance.expovariate
        while True:
            time, _, what, customer, device, script, position, gap = agenda[0]
            self.serial += 1
            if what == _STEP:
                step = script[position]
                position += 1
                if position < len(script):
                    wait = int(log(1.0) * gap) + 1
                    heapq.heapreplace(
                        agenda, (time + wait, self.serial, _STEP, customer, device, script, position, gap)
                    )
                else:
                    heapq.heappop(agenda)
                yield (time, customer, device, *step)
            elif what == _CROWD:
                who = self._passer_by(time)
                script = self.writer.mail(who) if who.consent and draw() < 0.15 else self._visit(who, time)
                entry = (time, self.serial, _STEP, who, self._device(who), script, 0, self.live_gap)
                heapq.heapreplace(agenda, entry)
                # The next visit begins when the events of those so far are used up: so the mean rate is exact.
                self.planned += len(script)
                at = self.start - _WARM_UP + int((self.planned + draw()) * 1000 / self.rate)
                self._put(max(at, time), _CROWD, customer)
            else:
                script = self._visit(customer, time) if what == _VISIT else self.writer.mail(customer)
                gap = _HISTORY_GAP if what == _VISIT else _HISTORY_GAP * 30
                heapq.heapreplace(agenda, (time, self.serial, _STEP, customer, self._device(customer), script, 0, gap))
                again = (
                    self._next_visit(time, customer) if what == _VISIT else time + int(log(_MAILS_A_DAY / DAY)) + HOUR
                )
                if again < self.start - _WARM_UP:
                    self._put(again, what, customer)

    def _visit(self, customer: Customer, time: int) -> Script:
        return self.writer.visit(customer, self.turn is not None and time >= self.turn)

    def _passer_by(self, time: int) -> Customer:
        """Who comes to the live shop: mostly those who come often and for whom it is the hour."""
        if len(self.people) < self.limit and self.chance.random() < 0.02:
            customer = self._new_customer(PERSONAS[5])
            self._weights.append(self._weights[-1] + customer.persona.visits)
            return customer
        customer = self.people[-1]
        for _ in range(6):
            customer = self.chance.choices(self.people, cum_weights=self._weights)[0]
            if customer.silent_until <= time and _likely(time, customer):
                return customer
        while customer.silent_until > time:
            customer = self.people[int(self.chance.random() * len(self.people))]
        return customer


def _choose(draw: float) -> Persona:
    for persona in PERSONAS:
        draw -= persona.share
        if draw < 0:
            return persona
    return PERSONAS[0]


def _likely(time: int, customer: Customer) -> bool:
    local = time + customer.offset
    persona = customer.persona
    if persona.weekdays and (local // DAY + 3) % 7 >= 5:  # 1970-01-01 was a Thursday, day 3 from Monday
        return False
    return persona.hours[0] <= local % DAY // HOUR < persona.hours[1]


class _Clock:
    """ISO 8601 texts of times that mostly follow each other: a second is formatted once."""

    def __init__(self) -> None:
        self._day = self._second = -1
        self._date = self._prefix = ""

    def text(self, time: int) -> str:
        second, milli = divmod(time, 1000)
        if second != self._second:
            day, rest = divmod(second, 86_400)
            if day != self._day:
                self._day, self._date = day, _date(day)
            self._second = second
            self._prefix = f"{self._date}T{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}."
        return f"{self._prefix}{milli:03d}Z"


def _date(day: int) -> str:
    return date.fromordinal(719_163 + day).isoformat()


def _deliver(
    shop: _Shop,
    seed: int,
    until: int | None,
    disorder: int,
    stragglers: float,
    duplicates: float,
    dirty: float,
    oversize: bool,
) -> Iterator[Delivery]:
    # A chance of its own, so that what happens in the shop does not depend on how the network treats it.
    chance = random.Random(f"network {seed}")
    draw, text = chance.random, _Clock().text
    pending: list[tuple[int, int, Delivery]] = []
    push, pop = heapq.heappush, heapq.heappop
    usual, late = disorder // 10, disorder - disorder // 10
    bad, twice, straggling = dirty, dirty + duplicates, dirty + duplicates + stragglers
    for number, (time, customer, device, name, content, addition) in enumerate(shop.events(), 1):
        while pending and pending[0][0] <= time:
            delivery = pop(pending)[2]
            if until is not None and delivery.at >= until:
                return
            yield delivery
        if until is not None and time >= until + disorder:
            return
        context, anonymous = customer.devices[device]
        delay = 1 + int(draw() * usual)
        if delay % 16 == 0:
            delay += int(draw() * late)
        moment = text(time)
        if name == IDENTIFY:
            body = f'"type":"identify","traits":{{{content}}}'
        elif name == PAGE:
            body = f'"type":"page","properties":{{{content}}}'
        else:
            body = f'"type":"track","event":"{name}","properties":{{{content}}}'
        value = (
            f'{{{body},"userId":"{customer.id}","anonymousId":"{anonymous}","messageId":"s{seed}-{number:x}",'
            f'"timestamp":"{moment}","sentAt":"{moment}","context":{context}{addition}}}}}'
        ).encode()
        label = None
        fate = draw()
        if fate < straggling:
            if fate < bad:
                kind, dross = dirt(chance, customer, moment, number, oversize)
                push(pending, (time + delay, -number, Delivery(time + delay, customer.key, dross, f"dirt: {kind}")))
            elif fate < twice:
                again = time + 1 + int(draw() * (disorder if draw() < 0.9 else HOUR))
                again = max(again, time + delay + 1)
                push(pending, (again, -number, Delivery(again, customer.key, value, "duplicate")))
            else:
                delay, label = disorder + 1 + int(draw() ** 3 * HOUR), "straggler"
        at = time + delay
        push(pending, (at, number, Delivery(at, customer.key, value, label)))
