"""What is shown while something takes longer than a second: a spinner on a terminal, a line a step elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

# How often a long step says that it still goes on where there is no terminal, in seconds.
REMINDER = 15.0
# On a terminal the clock of the step moves this often, in seconds.
TICK = 0.2
FRAMES = "|/-\\"


@contextmanager
def step(
    what: str, *, quiet: bool = False, stream: IO[str] | None = None, far: Callable[[], str] = str
) -> Iterator[None]:
    """Show that `what` is under way, then that it is done and how long it took; nothing if it took no time to speak of.

    `far` says in a few words how far it is.
    """
    out = stream or sys.stderr
    if quiet:
        yield
        return
    begun = time.monotonic()
    over = threading.Event()
    terminal = out.isatty()

    def show() -> None:
        turn = 0
        # What is over in a moment need not be announced.
        if over.wait(0.5):
            return
        if not terminal:
            print(f"segue: {what} ...", file=out, flush=True)
        while not over.wait(TICK if terminal else REMINDER):
            passed = time.monotonic() - begun
            if terminal:
                print(
                    f"\r\x1b[K{FRAMES[turn % len(FRAMES)]} {what} ({passed:.0f}s) {far()}", end="", file=out, flush=True
                )
                turn += 1
            else:
                print(f"segue:   {passed:.0f}s {far()}".rstrip(), file=out, flush=True)

    thread = threading.Thread(target=show, name="progress", daemon=True)
    thread.start()
    try:
        yield
    except BaseException:
        over.set()
        thread.join()
        if terminal:
            print("\r\x1b[K", end="", file=out, flush=True)
        raise
    over.set()
    thread.join()
    passed = time.monotonic() - begun
    if terminal:
        print("\r\x1b[K", end="", file=out, flush=True)
    if passed >= 0.5:
        print(f"segue: {what}: done ({passed:.1f}s)", file=out, flush=True)
