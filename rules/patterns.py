"""Regular expressions that take a time linear in the text, whatever the pattern: those of RE2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import re2

LONGEST_PATTERN: Final = 200
LONGEST_SEARCHED: Final = 1000
"""Characters of a text that are looked at."""

_MEMORY: Final = 1 << 20
"""Bytes that one pattern may take."""


class BadPattern(ValueError):
    """What is written is no pattern; the message says why."""


def compile_pattern(pattern: str) -> Callable[[Any], bool]:
    """A function from a value to whether it is a text that has the pattern somewhere in it. BadPattern if it is none.

    >>> spring = compile_pattern("(?i)^spring-[0-9]{4}$")
    >>> spring("Spring-2026"), spring("spring-26"), spring(2026)
    (True, False, False)
    """
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY
    if len(pattern) > LONGEST_PATTERN:
        raise BadPattern(f"has {len(pattern):,} characters, more than {LONGEST_PATTERN}")
    try:
        search = re2.compile(pattern.encode(), options).search
    except UnicodeEncodeError:
        raise BadPattern("is no valid Unicode") from None
    except re2.error as error:
        reason = error.args[0]
        raise BadPattern(reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)) from None

    def found(value: Any) -> bool:
        if type(value) is not str:
            return False
        try:
            return search(value[:LONGEST_SEARCHED].encode()) is not None
        except UnicodeEncodeError:  # half of a surrogate pair: no text, so nothing is in it
            return False

    return found
