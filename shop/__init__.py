"""The simulated shop: seeded traffic to develop, demonstrate and measure against. Pure: no clock, no network."""

from shop.simulation import Delivery, simulate

__all__ = ["Delivery", "simulate"]
