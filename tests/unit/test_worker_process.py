"""The worker as the operator meets it: the shape of frames, and the process that serves them over its pipes."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flink_jobs import learning
from flink_jobs.frames import BATCH, HELLO, PROTOCOL_VERSION, RULES, ProtocolError
from flink_jobs.learning import NICENESS
from flink_jobs.outputs import Destination
from flink_jobs.worker import Worker
from online_models.storage import encode_predictor
from profiles import NEVER
from tests.frames import DAY, SETTINGS, START, Operator, payload, record
from tests.records import HOSTILE
from tests.unit.test_pipelines import setting, taught

ROOT = Path(__file__).resolve().parents[2]


# --- frames ------------------------------------------------------------------------------------------------------------


def test_a_build_mixed_from_two_versions_is_noticed() -> None:
    worker = Worker(lambda: START)
    frame = msgspec.msgpack.encode
    with pytest.raises(ProtocolError, match="speaks protocol 1"):
        worker.answer(frame([HELLO, 1, 0, 1, json.dumps(SETTINGS).encode()]))
    with pytest.raises(msgspec.ValidationError):
        worker.answer(frame([HELLO, PROTOCOL_VERSION, 0, 1, json.dumps({**SETTINGS, "new": 1}).encode()]))
    with pytest.raises(ProtocolError, match="unknown frame 9"):
        worker.answer(frame([9]))


def test_answers_have_the_shape_that_the_operator_reads() -> None:
    worker = Worker(lambda: START)
    frame = msgspec.msgpack.encode

    def ask(*parts: Any) -> Any:
        return msgspec.msgpack.decode(worker.answer(frame(parts)))

    kind, words = ask(HELLO, PROTOCOL_VERSION, 2, 4, json.dumps(SETTINGS).encode())
    assert (kind, words.split(",")[0]) == (HELLO, "worker 3 of 4")
    kind, accepted, detail, outputs, counters = ask(RULES, payload())
    assert (kind, accepted, detail, len(outputs), counters) == (RULES, True, "3 segments", 1, {"rules_accepted": 1})
    value = record(at=START)
    arrivals = [[value, START, 0, 1, len(value), None]]
    groups = [["c", None, arrivals], ["", None, [[None, 5, 0, 2, 0, b"k"]]]]
    kind, results, outputs, counters = ask(BATCH, START, groups)
    assert kind == BATCH
    assert isinstance(results[0][0], bytes)
    assert START < results[0][1] < NEVER
    assert results[1] == [None, NEVER]
    assert all(isinstance(one[0], int) and len(one) == 3 for one in outputs)
    assert counters["received"] == 2


# --- the real process --------------------------------------------------------------------------------------------------

_frame_length = struct.Struct(">I")


class Child:
    """The worker as the operator starts it."""

    def __init__(self, code: str = "from flink_jobs.worker import main; main()") -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )

    def answer(self, frame: bytes) -> bytes:
        pipe = self.process
        assert pipe.stdin is not None
        assert pipe.stdout is not None
        pipe.stdin.write(_frame_length.pack(len(frame)) + frame)
        pipe.stdin.flush()
        (length,) = _frame_length.unpack(pipe.stdout.read(4))
        return pipe.stdout.read(length)

    def end(self, last: bytes = b"") -> tuple[int, bytes, bytes]:
        """Close its input; its exit code, what was left on the pipe, and what it said."""
        out, said = self.process.communicate(last, timeout=30)
        return self.process.returncode, out, said


def test_as_a_process_it_answers_as_it_does_in_here() -> None:
    child = Child()
    there, here = Operator(worker=child), Operator()  # type: ignore[arg-type]
    for operator in (there, here):
        operator.send({f"c{n}": [operator.arrival(record(message_id=str(n)))] for n in range(500)})
        operator.one("c", *HOSTILE.values())
        operator.advance(START + 8 * DAY)
    assert there.states == here.states
    assert there.counts == here.counts
    assert [one["id"] for one in there.written(Destination.SEGMENT_CHANGES)] == [
        one["id"] for one in here.written(Destination.SEGMENT_CHANGES)
    ]
    assert child.end() == (0, b"", b"")


def test_stray_prints_do_not_corrupt_the_pipe() -> None:
    """A library that prints once, even from C, would otherwise shift every later frame."""
    child = Child(
        textwrap.dedent(
            """
            import os, subprocess, sys
            from flink_jobs import batch, worker
            real = batch.decode_event
            def noisy(*arguments):
                print("printed")
                sys.stdout.flush()
                os.write(1, b"written to descriptor 1\\n")
                subprocess.run(["echo", "from a child"])
                return real(*arguments)
            batch.decode_event = noisy
            worker.main()
            """
        )
    )
    operator = Operator(worker=child)  # type: ignore[arg-type]
    for _ in range(3):
        operator.one("c", record())
    operator.check_accounts(3)
    code, left, said = child.end()
    assert (code, left) == (0, b"")
    for words in (b"printed", b"written to descriptor 1", b"from a child"):
        assert said.count(words) == 3


def test_it_reads_nothing_of_the_operators_pipe_by_accident() -> None:
    """`input()` somewhere in a library must not eat the next frame."""
    child = Child(
        textwrap.dedent(
            """
            import os
            from flink_jobs import batch, worker
            real = batch.decode_event
            def curious(*arguments):
                try:
                    os.read(0, 100)
                except OSError:
                    pass
                return real(*arguments)
            batch.decode_event = curious
            worker.main()
            """
        )
    )
    operator = Operator(worker=child)  # type: ignore[arg-type]
    operator.one("c", record())
    operator.one("c", record())
    operator.check_accounts(2)
    assert child.end()[0] == 0


@pytest.mark.skipif(not hasattr(os, "nice"), reason="processes have no niceness here")
def test_the_learner_gives_way_to_those_who_serve_customers() -> None:
    niceness = []
    for settings, code in ((SETTINGS, "worker"), ({}, "learning")):
        child = Child(f"from flink_jobs.{code} import main; main()")
        child.answer(msgspec.msgpack.encode([HELLO, PROTOCOL_VERSION, 0, 1, json.dumps(settings).encode()]))
        niceness.append(os.getpriority(os.PRIO_PROCESS, child.process.pid))
        assert child.end() == (0, b"", b"")
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    assert niceness == [ours, min(ours + NICENESS, 19)]


def test_the_learner_multiplies_matrices_in_one_thread() -> None:
    """A second one, busy with waiting for the first, once took as much of the processors as the learning of personas itself."""
    counts = """
        import sys
        from flink_jobs import learning
        learning.serve_standard_streams = lambda answer: None
        learning.main()
        assert "numpy" not in sys.modules, "it would have made its threads already"
        import numpy, scipy.linalg, threadpoolctl
        sys.exit(max(one["num_threads"] for one in threadpoolctl.threadpool_info()))
    """
    process = subprocess.run([sys.executable, "-c", textwrap.dedent(counts)], cwd=ROOT, capture_output=True, timeout=60)
    assert process.returncode == 1, process.stderr.decode()
    assert not process.stderr


def test_where_there_is_no_niceness_it_serves_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[Any] = []
    monkeypatch.delattr(os, "nice", raising=False)
    monkeypatch.setattr(learning, "serve_standard_streams", served.append)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "")
    learning.main()
    assert len(served) == 1


@pytest.mark.parametrize("last", [b"", b"\x00", b"\x00\x00\x00\x09abc"])
def test_it_ends_when_the_operator_has_gone(last: bytes) -> None:
    child = Child()
    Operator(worker=child)  # type: ignore[arg-type]
    assert child.end(last) == (0, b"", b"")


def test_its_last_words_say_why_it_died() -> None:
    child = Child()
    frame = msgspec.msgpack.encode([HELLO, 1, 0, 1, b"{}"])
    code, out, said = child.end(_frame_length.pack(len(frame)) + frame)
    assert code != 0
    assert out == b""
    assert b"the operator speaks protocol 1, the worker 2" in said


def test_the_first_version_that_a_worker_reads_goes_when_the_next_one_comes() -> None:
    """Reading it once imported half of River, which left a cycle behind: with no collector a forest stayed for ever."""
    reads = """
        import gc, sys, weakref
        from flink_jobs.models import SCORING
        SCORING.parse({})
        from online_models.storage import decode_predictor
        from tests.unit.test_pipelines import setting
        gc.disable()
        first = decode_predictor(*setting("ARFRegressor"), sys.stdin.buffer.read())
        seen = weakref.ref(first.estimator)
        del first
        sys.exit(seen() is not None)
    """
    data = encode_predictor(taught(setting("ARFRegressor"), 60))
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(reads)], input=data, cwd=ROOT, capture_output=True, timeout=120
    )
    assert process.returncode == 0, process.stderr.decode()
