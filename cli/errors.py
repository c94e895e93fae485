"""What goes wrong for reasons that the person at the keyboard can mend."""

from __future__ import annotations


class UserError(Exception):
    """Something the user can mend: shown in one or two lines, without a traceback, with exit code 2.

    `message` says what is the matter, `hint` what to do about it.

    >>> error = UserError("no cluster is up", "start one with `segue up`")
    >>> str(error), error.hint
    ('no cluster is up', 'start one with `segue up`')
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
