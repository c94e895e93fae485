"""What a customer does in one go: a visit to the shop, or a mail and what comes of it, as a script of steps."""

from __future__ import annotations

import random
from typing import Final

from shop.people import Customer, Product, money, tier

IDENTIFY: Final = "identify"
PAGE: Final = "page"

Step = tuple[str, str, str]
"""Name of the event (or `IDENTIFY`, `PAGE`), its properties or traits, what is added to its context; both are JSON members
without braces."""

Script = list[Step]

_QUERIES: Final = (
    "gift",
    "eco bottle",
    "travel bag",
    "garden chair",
    "bamboo brush",
    "watch",
    "puzzle",
    "kettle",
    "solar lamp",
)
_SEASONS: Final = ("spring", "summer", "autumn", "winter", "vip", "clearance")


class Writer:
    """Writes scripts. One `random.Random` drives it, so the same calls give the same scripts."""

    def __init__(self, chance: random.Random, products: list[Product]) -> None:
        self._chance = chance
        self._products = products
        self._orders = 0
        self._mails = 0

    def identify(self, customer: Customer) -> Step:
        """The traits of a customer as they are now."""
        customer.known = True
        birthday = f'"birthday":"{customer.birthday}",' if customer.birthday else ""
        traits = (
            f'"email_consent":{"true" if customer.consent else "false"},"country":"{customer.country}",{birthday}'
            f'"loyalty_tier":"{tier(customer.spent_cents)}","lifetime_value":{money(customer.spent_cents)},'
            f'"timezone":"{customer.zone}"'
        )
        return (IDENTIFY, traits, "")

    def visit(self, customer: Customer, turned: bool = False) -> Script:
        """A visit as the persona makes it; `turned`: those who mostly order what is in their cart mostly do not, and the others do."""
        draw = self._chance.random
        persona = customer.persona
        script: Script = []
        if not customer.known or draw() < 0.03:
            script.append(self.identify(customer))
        if draw() < 0.25:
            path = f'"path":"/{"sale" if persona.basket < 1 else "home"}"'
            script.append((PAGE, path, f',"page":{{{path},"referrer":"https://search.example/"}}'))
        if draw() < persona.search:
            query = _QUERIES[int(draw() * len(_QUERIES))]
            script.append(("Products Searched", f'"query":"{query}","results":{int(draw() * 40)}', ""))
        looked_at: list[Product] = []
        for _ in range(1 + int(self._chance.expovariate(1 / persona.views))):
            product = self._pick(customer, looked_at)
            looked_at.append(product)
            script.append(("Product Viewed", f'{product.encoded},"currency":"EUR"', ""))
        if draw() < persona.cart:
            # The number of items grows by ones; whoever leaves on the way leaves a cart of that size.
            count = 1 + int(draw() * persona.items * 1.6)
            basket = [looked_at[int(draw() * len(looked_at))] for _ in range(count)]
            for items in sorted({1, count}):
                script.append(self._cart(basket[:items]))
            if draw() < (1 - persona.order if turned else persona.order):
                script += self._order(customer, basket)
            elif draw() < 0.4:
                script.append(self._checkout(basket))
        return script

    def abandoned_cart(self, customer: Customer, items: int) -> Script:
        """A visit that ends with a cart of `items` and nothing after."""
        basket = [self._pick(customer, []) for _ in range(items)]
        viewed: Script = [("Product Viewed", f'{product.encoded},"currency":"EUR"', "") for product in basket]
        return [self.identify(customer), *viewed, self._cart(basket)]

    def single_view(self, customer: Customer) -> Script:
        """A visit that is one look at one product."""
        product = self._pick(customer, [])
        return [self.identify(customer), ("Product Viewed", f'{product.encoded},"currency":"EUR"', "")]

    def purchase(self, customer: Customer) -> Script:
        """A visit straight to the till; it ends with the order."""
        basket = [self._pick(customer, []) for _ in range(1 + int(self._chance.random() * 3))]
        order = self._order(customer, basket)[:2]
        return [self.identify(customer), ("Product Viewed", f'{basket[0].encoded},"currency":"EUR"', ""), *order]

    def mail(self, customer: Customer) -> Script:
        """A mail that is delivered, perhaps opened, perhaps clicked in."""
        draw = self._chance.random
        self._mails += 1
        promotional = draw() < 0.75
        season = _SEASONS[int(draw() * len(_SEASONS))]
        content = (
            f'"campaign":"{season}-{self._mails % 10}","promotional":{"true" if promotional else "false"},'
            f'"mail_id":"m{self._mails}"'
        )
        campaign = f',"campaign":{{"name":"{season}","source":"newsletter","medium":"email"}}'
        script: Script = [("Email Delivered", content, campaign)]
        if draw() < customer.persona.opens:
            script.append(("Email Opened", content, campaign))
            if draw() < customer.persona.clicks:
                link = f'{content},"url":"https://shop.example/{season}"'
                script.append(("Email Link Clicked", link, campaign))
                if draw() < 0.3:
                    script.append(("Email Link Clicked", link, campaign))
        return script

    def _pick(self, customer: Customer, looked_at: list[Product]) -> Product:
        draw = self._chance.random
        favourites = customer.favourites
        if draw() < customer.persona.revisit:
            return looked_at[-1] if looked_at and draw() < 0.5 else favourites[0]
        if draw() < 0.6:
            return favourites[int(draw() * len(favourites))]
        return self._products[int(draw() * len(self._products))]

    @staticmethod
    def _cart(basket: list[Product]) -> Step:
        value = sum(product.price_cents for product in basket)
        ids = ",".join(f'{{"product_id":"{product.id}"}}' for product in basket)
        content = f'"item_count":{len(basket)},"value":{money(value)},"currency":"EUR","products":[{ids}]'
        return ("Cart Updated", content, "")

    @staticmethod
    def _checkout(basket: list[Product]) -> Step:
        value = sum(product.price_cents for product in basket)
        return ("Checkout Started", f'"value":{money(value)},"currency":"EUR","item_count":{len(basket)}', "")

    def _order(self, customer: Customer, basket: list[Product]) -> Script:
        self._orders += 1
        code = f"o{self._orders:07d}"
        lines: dict[str, list[Product]] = {}
        for product in basket:
            lines.setdefault(product.id, []).append(product)
        cents = int(sum(product.price_cents for product in basket) * min(customer.persona.basket, 1.0))
        products = ",".join(f'{{{same[0].encoded},"quantity":{len(same)}}}' for same in lines.values())
        content = f'"order_id":"{code}","revenue":{money(cents)},"currency":"EUR"'
        customer.spent_cents += cents
        script: Script = [
            self._checkout(basket),
            ("Order Completed", f'{content},"products":[{products}]', ""),
            self.identify(customer),
        ]
        if self._chance.random() < 0.04:
            customer.spent_cents -= cents
            script += [("Order Refunded", f"{content}", ""), self.identify(customer)]
        return script


def dirt(chance: random.Random, customer: Customer, time: str, serial: int, oversize: bool) -> tuple[str, bytes]:
    """A record that no event, or no usable one, can be made of: (kind of dirt, value). `time` is ISO 8601."""
    head = f'"type":"track","userId":"{customer.id}","messageId":"dirt-{serial}"'
    kinds: list[tuple[str, bytes]] = [
        ("not json", b"<html>502 Bad Gateway</html>"),
        ("cut off", f'{{{head},"timestamp":"{time}","event":"Product Vie'.encode()),
        ("not utf-8", f'{{{head},"timestamp":"{time}","event":"'.encode() + b'caf\xe9"}'),
        ("not an object", b"[1,2,3]"),
        ("wrong types", f'{{{head},"timestamp":"{time}","event":{{"a":1}},"properties":"none"}}'.encode()),
        ("no time", f'{{{head},"event":"Product Viewed","properties":{{}}}}'.encode()),
        ("far future", f'{{{head},"timestamp":"9999-12-31T23:59:59.999Z","event":"Product Viewed"}}'.encode()),
        ("1970", f'{{{head},"timestamp":"1970-01-01T00:00:00.000Z","event":"Product Viewed"}}'.encode()),
        ("no name", f'{{{head},"timestamp":"{time}","properties":{{"price":1}}}}'.encode()),
        ("not a number", f'{{{head},"timestamp":"{time}","event":"Order Completed","properties":{{"revenue":NaN}}}}'.encode()),
        ("deep", f'{{{head},"timestamp":"{time}","event":"x","properties":'.encode() + b"[" * 2000 + b"]" * 2000 + b"}"),
        ("empty", b""),
    ]  # fmt: skip
    if oversize:
        kinds.append(("oversize", f'{{{head},"event":"x","padding":"{"x" * 900_000}"}}'.encode()))
    return kinds[int(chance.random() * len(kinds))]
