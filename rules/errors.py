"""What is wrong with a rule file: where it stands, what it is, and how to mend it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

SHOWN_ERRORS: Final = 100
"""More errors than this are counted, not listed: nobody reads them, and a hostile file could hold a million."""


@dataclass(frozen=True, order=True)
class RuleError:
    """One thing that is wrong at `line` and `column` (both from 1) of `file`; `hint` (may be empty) says how to mend it.

    >>> print(RuleError("vip.yaml", 3, 5, "unknown key 'withn'", "did you mean 'within'?"))
    vip.yaml:3:5: unknown key 'withn' (did you mean 'within'?)
    """

    file: str
    line: int
    column: int
    message: str
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.file}:{self.line}:{self.column}: {self.message}"
        return f"{text} ({self.hint})" if self.hint else text


@dataclass(frozen=True, order=True)
class RuleWarning(RuleError):
    """Something that is allowed, but hardly what was meant."""


class RuleErrors(Exception):
    """A rule file, or a whole rule set, is refused. `errors` are ordered by position and never empty.

    `more` is how many there were besides.
    """

    def __init__(self, errors: Iterable[RuleError], more: int = 0) -> None:
        found = sorted(set(errors))
        self.errors = tuple(found[:SHOWN_ERRORS])
        self.more = more + len(found) - len(self.errors)
        super().__init__(self.errors)

    def __str__(self) -> str:
        lines = [str(error) for error in self.errors]
        if self.more:
            lines.append(f"... and {self.more:,} more")
        return "\n".join(lines)
