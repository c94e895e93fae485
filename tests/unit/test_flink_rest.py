"""The REST client against a server on the loopback interface that answers as Flink 2.3 does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from cli import submit
from cli.flink_rest import FlinkError, FlinkRest, FlinkUnreachable, root_cause
from cli.submit import cancel, client_failure, refuse_second, stop_with_savepoint, wait_running

JOB = "a" * 32
TRACE = """java.lang.RuntimeException: One or more fetchers failed
\tat org.apache.flink.Some.frame(Some.java:1)
Caused by: java.io.IOException: pipe
\t... 3 more
Caused by: segue.WorkerFailure: the worker ended with 1
ModuleNotFoundError: No module named 'msgspec'
\tat segue.WorkerProcess.fail(WorkerProcess.java:9)
\t... 9 more
"""


class FakeFlink:
    """Answers by path; an answer may be a list, of which each request takes the next (the last one stays)."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, str, Any]] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                fake.asked.append((self.command, self.path, body))
                answer = fake.answers.get(f"{self.command} {self.path}", (404, {"errors": ["Not found."]}))
                if isinstance(answer, list):
                    answer = answer.pop(0) if len(answer) > 1 else answer[0]
                status, content = answer if isinstance(answer, tuple) else (200, answer)
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PATCH = _answer  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def job(self, state: Any, vertices: Any = "RUNNING", trouble: tuple[str, ...] = ()) -> None:
        """Have a job of one vertex in this state (or, as lists, in these one after the other)."""
        states = state if isinstance(state, list) else [state]
        self.answers[f"GET /jobs/{JOB}/status"] = [{"status": one} for one in states]
        parts = vertices if isinstance(vertices, list) else [vertices]
        self.answers[f"GET /jobs/{JOB}"] = [
            {"vertices": [{"id": "v1", "name": "Source: rules", "status": "RUNNING", "parallelism": 1},
                          {"id": "v2", "name": "segments -> outputs", "status": one, "parallelism": 2}]}
            for one in parts
        ]  # fmt: skip
        entries = [{"stacktrace": one} for one in trouble]
        self.answers[f"GET /jobs/{JOB}/exceptions?maxExceptions=5"] = {"exceptionHistory": {"entries": entries}}


@pytest.fixture
def fake() -> Iterator[FakeFlink]:
    fake = FakeFlink()
    yield fake
    fake.server.shutdown()
    fake.server.server_close()


@pytest.fixture
def flink(fake: FakeFlink) -> FlinkRest:
    return FlinkRest(fake.address)


def overview(*states: str) -> dict[str, Any]:
    return {
        "jobs": [
            {"jid": f"{number:032x}", "name": "segue", "state": state, "start-time": number}
            for number, state in enumerate(states)
        ]
    }


def test_jobs_come_newest_first_and_those_that_are_over_are_not_live(fake: FakeFlink, flink: FlinkRest) -> None:
    fake.answers["GET /jobs/overview"] = overview("CANCELED", "RESTARTING", "FAILED", "RUNNING")
    assert [job.state for job in flink.jobs()] == ["RUNNING", "FAILED", "RESTARTING", "CANCELED"]
    assert [job.state for job in flink.live_jobs("segue")] == ["RUNNING", "RESTARTING"]
    assert flink.live_jobs("other") == []


def test_a_second_job_of_the_same_name_is_refused_while_the_first_can_still_write(
    fake: FakeFlink, flink: FlinkRest
) -> None:
    fake.answers["GET /jobs/overview"] = overview("FINISHED")
    refuse_second(flink, "segue")
    fake.answers["GET /jobs/overview"] = overview("RESTARTING")
    with pytest.raises(Exception, match="a job named segue is on this cluster already"):
        refuse_second(flink, "segue")
    refuse_second(flink, "another")


def tell_totals(fake: FakeFlink, *shares: dict[str, int] | None, operator: str = "segments") -> None:
    """Have each subtask of the operator tell these totals, or nothing yet. As Flink does, by name and in no order."""
    names = [f"{subtask}.{operator}.segue.totals" for subtask in range(len(shares))]
    told = [
        {"id": name, "value": json.dumps(share)} for name, share in zip(names, shares, strict=True) if share is not None
    ]
    for begin in range(0, len(names), 64):
        some = names[begin : begin + 64]
        path = f"GET /jobs/{JOB}/vertices/v2/metrics?get={'%2C'.join(some)}"
        assert len(path) < 4000, "Flink takes no longer address"
        fake.answers[path] = [[one for one in reversed(told) if one["id"] in some]]


def test_totals_are_summed_over_the_subtasks_of_our_operator(fake: FakeFlink, flink: FlinkRest) -> None:
    fake.job("RUNNING")
    tell_totals(fake, {"received": 20_003, "applied": 20_000, "late": 3}, {"received": 999, "applied": 999})
    assert flink.totals(JOB) == {"received": 21_002, "applied": 20_999, "late": 3}


def test_totals_beyond_what_a_float_can_hold_are_exact(fake: FakeFlink, flink: FlinkRest) -> None:
    fake.job("RUNNING")
    tell_totals(fake, {"received": 2**62}, {"received": 1})
    assert flink.totals(JOB) == {"received": 2**62 + 1}


def test_before_anything_is_counted_there_are_no_totals(fake: FakeFlink, flink: FlinkRest) -> None:
    fake.job("RUNNING")
    tell_totals(fake, {}, {})
    assert flink.totals(JOB) == {}


def test_the_share_of_one_subtask_is_not_taken_for_the_total(fake: FakeFlink, flink: FlinkRest) -> None:
    """After a rescale one subtask held `received`, another `applied`: of the one that was heard of first all seemed lost."""
    fake.job("RUNNING")
    tell_totals(fake, {"received": 30}, None)
    assert flink.totals(JOB) == {}
    tell_totals(fake, {"received": 30}, {"applied": 30})
    assert flink.totals(JOB) == {"received": 30, "applied": 30}


@pytest.mark.parametrize("subtasks", [64, 65, 1024])
def test_totals_of_many_subtasks_are_asked_for_in_addresses_that_flink_takes(
    fake: FakeFlink, flink: FlinkRest, subtasks: int
) -> None:
    fake.job("RUNNING")
    fake.answers[f"GET /jobs/{JOB}"] = [
        {"vertices": [{"id": "v2", "name": "learner", "status": "RUNNING", "parallelism": subtasks}]}
    ]
    tell_totals(fake, *({"learnt": number} for number in range(subtasks)), operator="learner")
    assert flink.totals(JOB, "learner") == {"learnt": sum(range(subtasks))}
    tell_totals(fake, *({"learnt": number} for number in range(subtasks - 1)), None, operator="learner")
    assert flink.totals(JOB, "learner") == {}


def test_totals_of_an_operator_that_the_job_has_not(fake: FakeFlink, flink: FlinkRest) -> None:
    fake.job("RUNNING")
    assert flink.totals(JOB, "learner") == {}


def test_a_job_says_that_it_runs_before_its_parts_do(fake: FakeFlink, flink: FlinkRest) -> None:
    fake.job("RUNNING", ["DEPLOYING", "INITIALIZING", "RUNNING"])
    assert [flink.runs(JOB) for _ in range(3)] == [False, False, True]


def test_waiting_until_it_runs_outlasts_one_failure_but_not_two(fake: FakeFlink, flink: FlinkRest) -> None:
    fake.job(["RESTARTING", "RESTARTING", "RUNNING"], trouble=(TRACE,))
    wait_running(flink, JOB, quiet=True)
    fake.job("RESTARTING", trouble=(TRACE, TRACE))
    with pytest.raises(Exception, match="the job does not start") as caught:
        wait_running(flink, JOB, quiet=True)
    hint = caught.value.hint  # type: ignore[attr-defined]
    assert hint.startswith(
        "segue.WorkerFailure: the worker ended with 1\nModuleNotFoundError: No module named 'msgspec'"
    )


def test_a_failed_job_ends_the_waiting_with_its_cause(fake: FakeFlink, flink: FlinkRest) -> None:
    fake.job("FAILED", trouble=("java.lang.IllegalStateException: no rule set\n\tat a.b(c)",))
    with pytest.raises(Exception, match="FAILED") as caught:
        wait_running(flink, JOB, quiet=True)
    assert caught.value.hint == "java.lang.IllegalStateException: no rule set"  # type: ignore[attr-defined]


def test_a_job_that_waits_for_slots_says_so(fake: FakeFlink, flink: FlinkRest) -> None:
    fake.job("RUNNING", "SCHEDULED")
    fake.answers["GET /overview"] = {
        "flink-version": "2.3.0",
        "taskmanagers": 1,
        "slots-total": 1,
        "slots-available": 0,
    }
    with pytest.raises(Exception, match="does not run after") as caught:
        wait_running(flink, JOB, timeout=0.2, quiet=True)
    assert "the job wants 2 slots; the cluster has 1, of which 0 are free" in caught.value.hint  # type: ignore[attr-defined]


def test_that_slots_are_lacking_is_said_while_it_waits(
    fake: FakeFlink, flink: FlinkRest, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submit, "SLOTS_NOTICE", 0.0)
    fake.job("RUNNING", ["SCHEDULED", "SCHEDULED", "SCHEDULED", "SCHEDULED", "RUNNING"])
    fake.answers["GET /overview"] = {
        "flink-version": "2.3.0",
        "taskmanagers": 1,
        "slots-total": 1,
        "slots-available": 1,
    }
    wait_running(flink, JOB)
    assert capsys.readouterr().err.count("the job wants 2 slots; the cluster has 1, of which 1 are free") == 1


def test_parts_that_are_done_with_do_not_keep_a_bounded_job_from_running(fake: FakeFlink, flink: FlinkRest) -> None:
    fake.job("RUNNING", "FINISHED")
    assert flink.runs(JOB)


def test_stop_polls_the_savepoint_and_then_the_end_of_the_job(fake: FakeFlink, flink: FlinkRest) -> None:
    fake.answers["GET /jobs/overview"] = {"jobs": [{"jid": JOB, "name": "segue", "state": "RUNNING", "start-time": 1}]}
    fake.job(["RUNNING", "FINISHED"])
    fake.answers[f"POST /jobs/{JOB}/stop"] = (202, {"request-id": "r1"})
    fake.answers[f"GET /jobs/{JOB}/savepoints/r1"] = [
        {"status": {"id": "IN_PROGRESS"}, "operation": None},
        {"status": {"id": "COMPLETED"}, "operation": {"location": "file:/kept/savepoint-1"}},
    ]
    job = flink.live_jobs()[0]
    assert stop_with_savepoint(flink, job, "/tmp/kept", drain=True) == "file:/kept/savepoint-1"
    posted = [body for method, _, body in fake.asked if method == "POST"]
    assert posted == [{"drain": True, "formatType": "CANONICAL", "targetDirectory": "file:///tmp/kept"}]


def test_a_savepoint_that_fails_leaves_the_job_and_gives_the_reason(fake: FakeFlink, flink: FlinkRest) -> None:
    fake.answers["GET /jobs/overview"] = {"jobs": [{"jid": JOB, "name": "segue", "state": "RUNNING", "start-time": 1}]}
    fake.answers[f"POST /jobs/{JOB}/stop"] = (202, {"request-id": "r1"})
    failure = {
        "class": "java.io.IOException",
        "stack-trace": "a.B: x\n\tat c\nCaused by: java.io.IOException: disk full\n\tat d",
    }
    done = {"status": {"id": "COMPLETED"}, "operation": {"failure-cause": failure}}
    fake.answers[f"GET /jobs/{JOB}/savepoints/r1"] = done
    with pytest.raises(FlinkError, match="the job was not stopped") as caught:
        stop_with_savepoint(flink, flink.live_jobs()[0])
    assert caught.value.hint == "java.io.IOException: disk full"


def test_cancel_waits_for_the_end(fake: FakeFlink, flink: FlinkRest) -> None:
    fake.answers["GET /jobs/overview"] = {"jobs": [{"jid": JOB, "name": "segue", "state": "RUNNING", "start-time": 1}]}
    fake.answers[f"PATCH /jobs/{JOB}?mode=cancel"] = (202, b"")
    fake.job(["CANCELLING", "CANCELED"])
    cancel(flink, flink.live_jobs()[0])
    assert ("PATCH", f"/jobs/{JOB}?mode=cancel", None) in fake.asked


def test_the_latest_checkpoint_is_none_before_the_first(fake: FakeFlink, flink: FlinkRest) -> None:
    fake.answers[f"GET /jobs/{JOB}/checkpoints"] = {"latest": {"completed": None}}
    assert flink.latest_checkpoint(JOB) is None
    completed = {"id": 7, "external_path": "file:/c/chk-7", "latest_ack_timestamp": 1700, "end_to_end_duration": 35,
                 "state_size": 4096}  # fmt: skip
    fake.answers[f"GET /jobs/{JOB}/checkpoints"] = {"latest": {"completed": completed}}
    found = flink.latest_checkpoint(JOB)
    assert found is not None and (found.number, found.path, found.completed, found.duration, found.size) == (
        7, "file:/c/chk-7", 1700, 35, 4096)  # fmt: skip


def test_a_refusal_carries_status_and_reason(fake: FakeFlink, flink: FlinkRest) -> None:
    fake.answers[f"GET /jobs/{JOB}/status"] = (404, {"errors": ["org.X: Could not find job\n\tat y"]})
    with pytest.raises(FlinkError) as caught:
        flink.state(JOB)
    assert caught.value.status == 404
    assert caught.value.hint == "org.X: Could not find job"


def test_nobody_there_and_somebody_else_there_are_both_unreachable(
    fake: FakeFlink, flink: FlinkRest, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.answers["GET /overview"] = (200, b"<html>a router</html>")
    with pytest.raises(FlinkUnreachable):
        flink.overview()
    fake.server.shutdown()
    fake.server.server_close()
    assert not flink.reachable()


def test_a_proxy_of_the_environment_is_not_asked(fake: FakeFlink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    fake.answers["GET /overview"] = {
        "flink-version": "2.3.0",
        "taskmanagers": 1,
        "slots-total": 2,
        "slots-available": 1,
    }
    found = FlinkRest(fake.address).overview()
    assert (found.version, found.task_managers, found.slots, found.free_slots) == ("2.3.0", 1, 2, 1)


def test_the_root_cause_is_the_innermost_one_without_frames() -> None:
    assert (
        root_cause(TRACE)
        == "segue.WorkerFailure: the worker ended with 1\nModuleNotFoundError: No module named 'msgspec'"
    )
    assert root_cause("just a word") == "just a word"
    assert root_cause("a.Outer: x\nCaused by: b.Inner: y\nCaused by: c.Innermost: z") == "c.Innermost: z"


def test_our_own_operators_word_says_more_than_what_it_rests_on() -> None:
    trace = (
        'segue.WorkerFailure: the worker could not be started: Cannot run program "/no/python"\n\tat segue.X.y(X.java:1)\n'
        "Caused by: java.io.IOException: error=2, No such file or directory\n\t... 12 more"
    )
    assert root_cause(trace) == 'segue.WorkerFailure: the worker could not be started: Cannot run program "/no/python"'


def test_there_may_be_no_cause_at_all() -> None:
    assert root_cause("") == ""


def test_of_a_snapshot_of_another_kind_of_job_it_is_said_what_to_do() -> None:
    """Flink names an option of its own client, which nobody has who submits by `segue`."""
    trace = (
        "Caused by: java.lang.IllegalStateException: Failed to rollback to checkpoint/savepoint file:/s. Cannot map"
        " checkpoint/savepoint state for operator 7dba0f54ead0015363ff8a1606577d92 to the new program, because the operator"
        " is not available in the new program. If you want to allow to skip this, you can set the --allowNonRestoredState"
        " option on the CLI.\n\tat org.apache.flink.X.y(X.java:1)"
    )
    said = client_failure(trace)
    assert "segue models apply" in said
    assert "ignore-unclaimed-state" in said
    assert "allowNonRestoredState" not in said
