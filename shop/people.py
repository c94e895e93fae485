"""Who shops: personas, what they tend to do, and the customers made of them."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Final

DAY: Final = 86_400_000
HOUR: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class Product:
    """An article of the shop. `encoded` is its part of an event's properties as JSON, without braces."""

    id: str
    category: str
    price_cents: int
    encoded: str


@dataclass(frozen=True, slots=True)
class Persona:
    """How a kind of customer behaves.

    `visits` a day; `views` per visit (mean); the chances per visit to fill a cart, to order what is in it, to search, to go back
    to the same product; per delivered mail to open it and to click in it; `mobile` is the share of visits from a phone;
    `hours` are those of local time in which most visits fall; `weekdays` whether only Monday to Friday.
    """

    name: str
    share: float
    visits: float
    views: float
    cart: float
    order: float
    search: float
    revisit: float
    opens: float
    clicks: float
    mobile: float
    hours: tuple[int, int]
    weekdays: bool = False
    items: int = 2
    basket: float = 1.0


PERSONAS: Final = (
    Persona("browser", 0.30, 0.5, 6, 0.12, 0.25, 0.4, 0.35, 0.2, 0.3, 0.5, (17, 23)),
    Persona("bargain hunter", 0.15, 0.8, 5, 0.35, 0.45, 0.7, 0.2, 0.8, 0.8, 0.5, (18, 23), basket=0.6),
    Persona("loyal buyer", 0.15, 0.6, 3, 0.75, 0.85, 0.2, 0.2, 0.6, 0.6, 0.4, (9, 21), items=4, basket=1.6),
    Persona("cart abandoner", 0.15, 0.6, 4, 0.85, 0.04, 0.3, 0.4, 0.3, 0.3, 0.5, (10, 23), items=4),
    Persona("lapsed", 0.08, 0.0, 3, 0.5, 0.6, 0.2, 0.2, 0.1, 0.1, 0.3, (10, 22)),
    Persona("newcomer", 0.07, 0.7, 4, 0.3, 0.35, 0.6, 0.3, 0.4, 0.4, 0.6, (10, 23)),
    Persona(
        "mobile office worker", 0.10, 1.0, 4, 0.4, 0.6, 0.3, 0.3, 0.4, 0.5, 1.0, (9, 17), weekdays=True, basket=1.4
    ),
)

# Fixed offsets, not zones with changing clocks: the generator must give the same bytes whatever time-zone data is installed.
ZONES: Final = (
    ("Europe/London", 0, "GB", "en-GB"),
    ("Europe/Berlin", 1, "DE", "de-DE"),
    ("Europe/Paris", 1, "FR", "fr-FR"),
    ("America/New_York", -5, "US", "en-US"),
    ("America/Los_Angeles", -8, "US", "en-US"),
    ("Asia/Tokyo", 9, "JP", "ja-JP"),
    ("Asia/Kolkata", 5.5, "IN", "en-IN"),
    ("Australia/Sydney", 10, "AU", "en-AU"),
)

_CATEGORIES: Final = (
    ("garden", 900, 6_000),
    ("kitchen", 500, 12_000),
    ("outdoor", 1_500, 25_000),
    ("eco-friendly", 700, 7_000),
    ("travel", 2_500, 40_000),
    ("luxury", 15_000, 90_000),
    ("toys", 600, 5_000),
    ("books", 500, 3_000),
)


@dataclass(slots=True)
class Customer:
    """One customer: who, from where, with which devices, and how much they have bought so far (cents).

    `devices` are (context of an event as JSON, anonymous id) with the phone first. `silent_until` keeps a customer away from
    the shop (epoch ms), for those whose silence is what is to be noticed.
    """

    id: str
    key: bytes
    persona: Persona
    offset: int
    devices: list[tuple[str, str]]
    country: str
    zone: str
    consent: bool
    birthday: str | None
    favourites: list[Product]
    spent_cents: int = 0
    known: bool = False
    silent_until: int = 0


def money(cents: int) -> str:
    """Cents as a JSON number with two places.

    >>> money(1205)
    '12.05'
    """
    return f"{cents // 100}.{cents % 100:02d}"


def make_products(chance: random.Random, count: int = 240) -> list[Product]:
    """The shop's articles, `count` of them over all categories."""
    products: list[Product] = []
    for number in range(count):
        category, low, high = _CATEGORIES[number % len(_CATEGORIES)]
        cents = int(low * (high / low) ** chance.random()) // 5 * 5
        code = f"P{number:04d}"
        encoded = f'"product_id":"{code}","category":"{category}","price":{money(cents)}'
        products.append(Product(code, category, cents, encoded))
    return products


def make_customer(chance: random.Random, number: int, persona: Persona, products: list[Product]) -> Customer:
    """Customer `number`, who behaves as `persona`."""
    zone, hours, country, locale = ZONES[int(len(ZONES) * chance.random() ** 1.6)]
    code = f"c{number:06d}"
    phones = ("iOS", "iPhone") if chance.random() < 0.5 else ("Android", "Pixel")
    kinds = [("mobile", *phones)]
    if persona.mobile < 1:
        kinds.append(("desktop", "Windows" if chance.random() < 0.7 else "macOS", "PC"))
        if chance.random() < 0.15:
            kinds.append(("tablet", "iPadOS", "iPad"))
    devices: list[tuple[str, str]] = []
    for index, (kind, system, model) in enumerate(kinds):
        context = {
            "device": {"type": kind, "model": model},
            "os": {"name": system},
            "locale": locale,
            "timezone": zone,
            "ip": f"198.51.100.{number % 256}",
        }
        devices.append((json.dumps(context, separators=(",", ":"))[:-1], f"a{number:06d}-{index}"))
    # Taste: most of what a customer looks at lies in a few categories, so that affinities exist.
    tastes = {chance.randrange(len(_CATEGORIES)), chance.randrange(len(_CATEGORIES))}
    liked = [product for index, product in enumerate(products) if index % len(_CATEGORIES) in tastes]
    return Customer(
        id=code,
        key=code.encode(),
        persona=persona,
        offset=int(hours * HOUR),
        devices=devices,
        country=country,
        zone=zone,
        consent=chance.random() < 0.7,
        birthday=f"{chance.randrange(1950, 2005)}-{chance.randrange(1, 13):02d}-{chance.randrange(1, 29):02d}"
        if chance.random() < 0.5
        else None,
        favourites=chance.sample(liked, min(8, len(liked))),
    )


def tier(spent_cents: int) -> str:
    """The loyalty tier for what was bought so far."""
    return "gold" if spent_cents >= 200_000 else "silver" if spent_cents >= 50_000 else "basic"
