"""One customer's profile and its codec.

The profile is all that is kept of a customer between two events. It is bounded: every slot has a cap, traits and
remembered message ids have one, and memberships are as many as there are segments.
"""

from __future__ import annotations

from typing import Any

import msgspec
import xxhash

NEVER = 2**63 - 1
"""The moment that does not come: no deadline, no timer."""

CODEC_VERSION = 1
"""First byte of an encoded profile. A new layout takes the next number and a migration for each older one."""

DIGEST_SIZE = 8


class Profile(msgspec.Struct, array_like=True, gc=False):
    """A customer's state. Times are epoch milliseconds.

    `latest`: newest event time counted. `sequence`: number of transitions so far. `rules`: version and stage
    (`RuleSet.code`) of the rule set that evaluated it last (0: none yet). `due`: the earliest deadline among `segments`.
    `recent`: digests of the newest message ids, 8 bytes each. `traits`: name to [value or None, event time of the write].
    `slots`: slot key to the slot's own state. `segments`: name to [since (0 when out), deadline, ...]; see `rules.membership` for
    what a latched one adds. `scores`: model to [its newest output, when it came]. `waiting`: what came while segments are
    warming; see `rules.handover`. `models`: name to [the next moment that the model waits for, ...], and `agenda`, what comes of
    all of them: see `online_models.serving`; empty where that has to be worked out first.
    """

    rules: int = 0
    first_seen: int = NEVER
    latest: int = 0
    sequence: int = 0
    due: int = NEVER
    recent: bytes = b""
    traits: dict[str, list[Any]] = {}
    slots: dict[int, Any] = {}
    segments: dict[str, list[int]] = {}
    scores: dict[str, list[Any]] = {}
    waiting: list[Any] = []
    models: dict[str, list[Any]] = {}
    agenda: list[int] = []


class UnknownCodec(Exception):
    """State written by a version of the codec that this one cannot read."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Profile)
_PREFIX = bytes([CODEC_VERSION])


def encode_profile(profile: Profile) -> bytes:
    """The profile as bytes: one version byte, then MessagePack."""
    return _PREFIX + _encoder.encode(profile)


def decode_profile(data: bytes) -> Profile:
    """The profile in `data`; UnknownCodec if its version byte is not known, ValueError if the rest is damaged."""
    if data[:1] != _PREFIX:
        raise UnknownCodec(f"state has codec version {data[0] if data else 'none'}, this build reads {CODEC_VERSION}")
    return _decoder.decode(memoryview(data)[1:])


def models_due(profile: Profile) -> int:
    """The next moment that a model waits for; NEVER if there is none."""
    due: int = NEVER
    for state in profile.models.values():
        if state[0] < due:
            due = state[0]
    return due


def remembered(recent: bytes, digest: bytes) -> bool:
    """Whether `digest` is one of the digests packed in `recent`."""
    at = recent.find(digest)
    while at >= 0:
        if not at % DIGEST_SIZE:
            return True
        at = recent.find(digest, at + 1)
    return False


def message_digest(message_id: str) -> bytes:
    """Eight bytes that stand for a message id (XXH3-64; two ids of one customer meet by chance once in 10^17)."""
    return xxhash.xxh3_64_digest(message_id.encode("utf-8", "surrogatepass"))
