"""Records of a source file: what one row is, and which physical lines it was read from.

Nothing is skipped: a line that is no row is a record with a reason and no cells.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import msgspec

MAX_LINE_BYTES: Final = 1_000_000

_decode: Final = msgspec.json.Decoder(float_hook=Decimal).decode


@dataclass(frozen=True, slots=True)
class Record:
    """One row. `line` is its first physical line (from 1), `lines` how many it spans, `raw` their bytes.

    `cells` is a list of texts (CSV) or an object (JSON); None where `reason` says why it is no row.
    """

    line: int
    lines: int
    raw: bytes
    cells: Any
    reason: str = ""


def json_records(lines: Iterable[bytes]) -> Iterator[Record]:
    """Records of a JSON-lines file; numbers with a point are exact decimals."""
    for number, raw in enumerate(lines, 1):
        if len(raw) > MAX_LINE_BYTES:
            yield Record(number, 1, raw, None, f"a line longer than {MAX_LINE_BYTES} bytes")
            continue
        try:
            content = _decode(raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ArithmeticError):
            yield Record(number, 1, raw, None, "not JSON in UTF-8" if raw.strip() else "an empty line")
            continue
        if type(content) is dict:
            yield Record(number, 1, raw, content)
        else:
            yield Record(number, 1, raw, None, "not a JSON object")


class CsvRecords:
    """Records of a CSV file with the physical lines that each was read from (a quoted cell may span several).

    `header` holds the names of the columns; it is empty where the file is. `header_lines` says how many lines it took.
    """

    def __init__(self, lines: Iterable[bytes], encoding: str, delimiter: str) -> None:
        self._lines = iter(lines)
        self._encoding = encoding
        self._taken: list[bytes] = []
        self._broken = ""
        self._first = True
        self._reader = csv.reader(self._texts(), delimiter=delimiter, strict=True)
        try:
            self.header = [name.strip() for name in next(self._reader, [])]
        except csv.Error:
            self.header = []
        self.header_lines = len(self._taken)
        self._taken.clear()
        self._broken = ""

    def _texts(self) -> Iterator[str]:
        for raw in self._lines:
            self._taken.append(raw)
            if len(raw) > MAX_LINE_BYTES:
                self._broken = f"a line longer than {MAX_LINE_BYTES} bytes"
                yield "\n"
                continue
            if self._first:
                raw = raw.removeprefix(b"\xef\xbb\xbf") if self._encoding == "utf-8" else raw
                self._first = False
            try:
                yield raw.decode(self._encoding)
            except UnicodeDecodeError:
                self._broken = f"not text in {self._encoding}"
                yield raw.decode(self._encoding, "replace")

    def __iter__(self) -> Iterator[Record]:
        line, width = self.header_lines, len(self.header)
        while True:
            cells: list[str] | None = None
            reason = ""
            try:
                cells = next(self._reader, None)
                if cells is None and not self._taken:
                    return
                reason = "" if cells is not None else "not CSV"
            except csv.Error:
                reason = "not CSV"
            line += 1
            raw, lines = b"".join(self._taken), len(self._taken)
            self._taken.clear()
            reason = self._broken or reason
            self._broken = ""
            if not reason and cells is not None and len(cells) != width:
                reason = "an empty line" if not cells else "a wrong number of columns"
            yield Record(line, lines, raw, None if reason else cells, reason)
            line += lines - 1
