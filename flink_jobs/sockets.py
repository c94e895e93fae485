"""Sockets of Kafka's client: none stays open behind a client that was closed."""

from __future__ import annotations

import selectors
import socket
from typing import Any
from weakref import WeakSet


class ClosingSelector(selectors.DefaultSelector):
    """Closes at its own end what sockets were registered with it and are open still.

    kafka-python 3.0.12 puts off closing a connection until what it has to say is written, and the end of the client does not wait for
    that. A consumer writes by itself, from a thread of its own: fetches ahead, looks at the metadata. One that is closed just then leaves
    its connection to the garbage collector. Each client has a selector of its own and closes it last of all: nobody uses these sockets any
    more.
    """

    def __init__(self) -> None:
        super().__init__()
        self._known: WeakSet[socket.socket] = WeakSet()

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """As every selector does."""
        if isinstance(fileobj, socket.socket):
            self._known.add(fileobj)
        return super().register(fileobj, events, data)

    def close(self) -> None:
        """As every selector does, and the sockets with it."""
        super().close()
        for one in list(self._known):
            one.close()
