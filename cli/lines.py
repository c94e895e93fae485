"""Source files as lines and outcomes: plain or gzipped, through a field map or in SDK form already."""

from __future__ import annotations

import base64
import contextlib
import gzip
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from cli.errors import UserError
from profiles.document import DocumentError
from profiles.event import parse_time
from profiles.fieldmap import FieldMap, Mapped, Outcome, Rejected, load_map
from profiles.rows import MAX_LINE_BYTES, json_records

_GZIP: Final = b"\x1f\x8b"


def read_lines(path: Path) -> Iterator[bytes]:
    """The file's lines as bytes, whatever is in them; gzip is told by its first bytes, not by the name.

    A line over `MAX_LINE_BYTES` is cut one byte above it, which those who read it take as too long. Raises `UserError` where the
    file cannot be read, or is a gzip file that is damaged or ends too early.
    """
    try:
        with path.open("rb") as raw:
            start = raw.read(2)
            raw.seek(0)
            stream = gzip.open(raw) if start == _GZIP else raw  # noqa: SIM115  (closes with `raw`)
            while line := stream.readline(MAX_LINE_BYTES + 1):
                yield line
                while len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
                    line = stream.readline(MAX_LINE_BYTES + 1)
                    if not line or line.endswith(b"\n"):
                        break
    except FileNotFoundError:
        raise UserError(f"{path} does not exist", "check the path of the file to replay") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder", "name one file") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path} is damaged: {error}", "fetch it again") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None


def read_map(path: Path) -> FieldMap:
    """The field map in a file; `UserError` says what is wrong with it and where."""
    try:
        return load_map(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist", "--map wants the path of a field map in YAML") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 (byte {error.start})", "save it as UTF-8") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    except DocumentError as error:
        raise user_error(error) from None


def user_error(error: DocumentError) -> UserError:
    """A complaint about a document as one about what the user gave."""
    return UserError(f"{error.file}:{error.line}:{error.column}: {error.message}", error.hint)


def outcomes(lines: Iterable[bytes], file: str, field_map: FieldMap | None) -> Iterator[Outcome]:
    """What becomes of each line of the file; without a map its lines are events in SDK form."""
    if field_map is None:
        yield from sdk_outcomes(lines)
        return
    try:
        yield from field_map.apply(lines, file)
    except DocumentError as error:
        raise user_error(error) from None


def sdk_outcomes(lines: Iterable[bytes]) -> Iterator[Outcome]:
    """Lines that are SDK events already, sent byte for byte, keyed by `userId` (else `anonymousId`).

    A time that cannot be read is the job's to refuse; the outcome's is then 0.
    """
    for record in json_records(lines):
        if record.cells is None:
            yield Rejected(record.line, record.lines, record.raw, record.reason)
            continue
        customer = record.cells.get("userId") or record.cells.get("anonymousId")
        if not isinstance(customer, str | int) or isinstance(customer, bool):
            yield Rejected(record.line, record.lines, record.raw, "no customer")
            continue
        time = 0
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            time = max(0, parse_time(_time_of(record.cells)))
        yield Mapped(str(customer).encode(), record.raw.strip(), time, record.line, record.lines)


def _time_of(cells: dict[str, object]) -> str | int | float:
    for name in ("timestamp", "originalTimestamp", "time"):
        value = cells.get(name)
        if value is not None:
            return value if isinstance(value, str | int) else float(str(value))
    raise ValueError("no time")


def dead_letter(rejected: Rejected, file: str, trace: str) -> bytes:
    """The record for the dead-letters topic: where the line is from, why it was refused, and its bytes (up to 64 kB)."""
    kept = rejected.raw[:65_536]
    content: dict[str, object] = {
        "source": {"file": file, "line": rejected.line},
        "stage": "fieldmap",
        "reason": rejected.reason,
        "trace_id": trace,
        "size": len(rejected.raw),
        "raw_base64": base64.b64encode(kept).decode(),
    }
    if len(kept) < len(rejected.raw):
        content["truncated"] = True
    return msgspec.json.encode(content)
