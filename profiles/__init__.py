"""Events, and what is kept of one customer. Pure: no Flink, no Kafka, no clock."""

from profiles.event import EARLIEST_EVENT_TIME, Event, InvalidRecord, decode_event, parse_time
from profiles.profile import NEVER, Profile, UnknownCodec, decode_profile, encode_profile

__all__ = [
    "EARLIEST_EVENT_TIME",
    "NEVER",
    "Event",
    "InvalidRecord",
    "Profile",
    "UnknownCodec",
    "decode_event",
    "decode_profile",
    "encode_profile",
    "parse_time",
]
