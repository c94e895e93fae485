"""The pipe between an operator and its worker: kinds of frames, and how they are served over the standard streams.

`docs/architecture.md` has the layout of each.
"""

from __future__ import annotations

import gc
import os
import struct
from collections.abc import Callable
from typing import BinaryIO

PROTOCOL_VERSION = 2
HELLO, RULES, BATCH, MODEL = 0, 1, 2, 3
EXAMPLES, WATERMARK, SNAPSHOT, RESTORE = 4, 5, 6, 7
"""Kinds of frames; those of the second line are the learner's alone."""


class ProtocolError(Exception):
    """The operator and the worker do not understand each other: a build mixed from two versions."""


_length = struct.Struct(">I")


def serve(source: BinaryIO, sink: BinaryIO, answer: Callable[[bytes], bytes]) -> None:
    """Answer frames until the operator closes its end."""
    while True:
        header = source.read(4)
        if len(header) < 4:
            return
        (length,) = _length.unpack(header)
        frame = source.read(length)
        if len(frame) < length:
            return
        answered = answer(frame)
        sink.write(_length.pack(len(answered)))
        sink.write(answered)
        sink.flush()


def serve_standard_streams(answer: Callable[[bytes], bytes]) -> None:
    """Serve on the standard streams, after moving the pipe out of the reach of stray prints."""
    pipe = os.fdopen(os.dup(1), "wb", buffering=1 << 18)
    os.dup2(2, 1)
    source = os.fdopen(os.dup(0), "rb", buffering=1 << 18)
    os.close(0)
    # Profiles and events hold no cycles, so the collector would only walk them in vain; it runs at rule changes.
    gc.disable()
    serve(source, pipe, answer)
