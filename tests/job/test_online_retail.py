"""A year of a real shop through the real job, judged by SQL over the raw file.

The SQL reads the lines of the file itself and knows neither the field map, nor events, nor rules: only what the five rules of
`examples/online-retail` mean in words. Every member of every segment must be the same at every instant looked at.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime

import duckdb
import pytest

from cli.paths import ROOT
from tests.fixtures.jobs import BenchMaker, JobBench, Told, check_accounts

DATA = ROOT.parent / "shared" / "data" / "online-retail-sample.csv.gz"
EXAMPLE = ROOT / "examples" / "online-retail"
SEGMENTS = ("big-spender", "lapsed-buyer", "recent-buyer", "wide-taste", "win-back")
DAY = 86_400_000
SQL_DAY = f"{DAY}::BIGINT"
DISORDER = 5_000

pytestmark = [
    pytest.mark.skipif(not DATA.exists(), reason=f"the sample {DATA.name} is not beside this copy of the project"),
    pytest.mark.timeout(600),
]

INVOICES = f"""
CREATE TABLE lines AS
SELECT
    InvoiceNo AS invoice,
    StockCode AS article,
    CAST(CAST(CustomerID AS DECIMAL(12, 1)) AS BIGINT) AS customer,
    CAST(Quantity AS DECIMAL(12, 1)) * CAST(UnitPrice AS DECIMAL(14, 4)) AS amount,
    epoch_ms(CAST(InvoiceDate AS TIMESTAMP)) AS written
FROM read_csv('{DATA}', all_varchar = true, header = true)
WHERE coalesce(CustomerID, '') <> '' AND CAST(UnitPrice AS DECIMAL(14, 4)) > 0;

CREATE TABLE invoices AS
SELECT invoice, any_value(customer) AS customer, max(written) AS happened, sum(amount) AS revenue, invoice LIKE 'C%' AS refund
FROM lines
GROUP BY invoice;

CREATE VIEW orders AS SELECT * FROM invoices WHERE NOT refund;
"""

MEMBERS = f"""
SELECT 'recent-buyer' AS segment, customer FROM orders WHERE happened > $now - 30 * {SQL_DAY} AND happened <= $now
UNION
SELECT 'big-spender', customer FROM orders
WHERE happened > $now - 90 * {SQL_DAY} AND happened <= $now
GROUP BY customer HAVING sum(revenue) >= 1000
UNION
SELECT 'lapsed-buyer', customer FROM orders
WHERE happened <= $now
GROUP BY customer HAVING count(*) >= 2 AND max(happened) <= $now - 90 * {SQL_DAY}
UNION
SELECT 'wide-taste', customer FROM orders JOIN lines USING (invoice, customer)
WHERE happened > $now - 60 * {SQL_DAY} AND happened <= $now
  AND customer NOT IN (SELECT customer FROM invoices WHERE refund AND happened > $now - 60 * {SQL_DAY} AND happened <= $now)
GROUP BY customer HAVING count(DISTINCT article) >= 40
UNION
SELECT 'win-back', customer FROM orders
WHERE happened <= $now
GROUP BY customer HAVING $now >= max(happened) + 45 * {SQL_DAY} AND $now < max(happened) + 75 * {SQL_DAY}
"""


@pytest.fixture(scope="module")
def raw() -> duckdb.DuckDBPyConnection:
    """The raw file in SQL."""
    connection = duckdb.connect()
    connection.execute(INVOICES)
    return connection


def one(raw: duckdb.DuckDBPyConnection, sql: str, **values: int) -> int:
    """The one number that a query answers with."""
    row = raw.execute(sql, values or None).fetchone()
    assert row is not None and row[0] is not None, sql
    return int(row[0])


def at(text: str) -> int:
    """Epoch milliseconds of a moment in UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def instants(raw: duckdb.DuckDBPyConnection) -> list[int]:
    """Twenty: odd moments all over the year, and moments at which somebody's window ends or begins to the millisecond."""
    chosen = [
        at(text)
        for text in (
            "2010-12-05 00:00:00.001",
            "2010-12-23 17:43:21.987",
            "2011-01-31 23:59:59.999",
            "2011-02-28 12:00:00",
            "2011-04-11 03:14:15.926",
            "2011-05-30 18:30:00",
            "2011-07-19 09:09:09.090",
            "2011-09-02 22:11:00.500",
            "2011-10-31 11:11:11.111",
            "2011-12-09 12:00:00",
        )
    ]
    # The last order of somebody who then stayed away for the time in question, so that the boundary is one of theirs.
    ends = """
        SELECT happened + $wait
        FROM (SELECT happened, lead(happened) OVER (PARTITION BY customer ORDER BY happened) AS next FROM orders)
        WHERE happened >= $since AND coalesce(next, $far) > happened + $wait + 1000
        ORDER BY happened LIMIT 1
    """
    for days, since in (
        (30, "2011-01-10"),
        (45, "2011-03-08"),
        (75, "2011-05-05"),
        (90, "2011-06-20"),
        (90, "2011-08-01"),
    ):
        end = one(raw, ends, wait=days * DAY, since=at(since), far=2**60)
        # On the boundary, and for each but the last also one millisecond before it.
        chosen += [end] if (days, since) == (90, "2011-08-01") else [end, end - 1]
    chosen.append(one(raw, "SELECT min(happened) FROM orders WHERE happened >= $since", since=at("2011-11-08")))
    assert len(set(chosen)) == 20
    return sorted(chosen)


def sql_members(raw: duckdb.DuckDBPyConnection, now: int) -> set[tuple[str, str]]:
    """Every (segment, customer) at this instant, by the raw lines."""
    return {(segment, str(customer)) for segment, customer in raw.execute(MEMBERS, {"now": now}).fetchall()}


def intervals(told: Sequence[Told]) -> dict[tuple[str, str], list[tuple[int, int]]]:
    """When each customer was in each segment, from the transitions alone: [from, to)."""
    found: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    since: dict[tuple[str, str], int] = {}
    for change in sorted(told, key=lambda change: (change.customer, change.sequence)):
        who = (change.segment, change.customer)
        if change.kind == "entered":
            assert who not in since, f"{who} entered twice"
            since[who] = change.effective_at
        else:
            found[who].append((since.pop(who), change.effective_at))
    for who, begin in since.items():
        found[who].append((begin, 2**62))
    return found


def replay(bench: JobBench, raw: duckdb.DuckDBPyConnection) -> int:
    """The file into the events topic by `segue replay`; the number of events that it says it has sent."""
    topics = bench.settings.topics
    done = subprocess.run(
        [
            *(sys.executable, "-m", "cli", "replay", str(DATA), "--map", str(EXAMPLE / "map.yaml"), "--speed", "max"),
            *("--topic", topics.events, "--dead-letters", topics.dead_letters),
            *("--bootstrap", bench.kafka.bootstrap_servers),
        ],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    sent = len(bench.read("events"))
    assert sent == one(raw, "SELECT count(*) FROM invoices"), done.stdout
    return sent


def check_members(told: Sequence[Told], raw: duckdb.DuckDBPyConnection) -> Counter[str]:
    """Compare at every instant; how many members of each segment were compared in all."""
    found = intervals(told)
    seen: Counter[str] = Counter()
    for now in instants(raw):
        expected = sql_members(raw, now)
        members = {who for who, stays in found.items() if any(begin <= now < end for begin, end in stays)}
        moment = datetime.fromtimestamp(now / 1000, UTC).isoformat()
        assert members == expected, (
            f"at {moment}: only the job has {sorted(members - expected)}, only SQL has {sorted(expected - members)}"
        )
        seen.update(segment for segment, _ in expected)
    assert set(seen) == set(SEGMENTS)
    return seen


def test_members_are_those_of_sql_over_the_raw_file(job_bench: BenchMaker, raw: duckdb.DuckDBPyConnection) -> None:
    """Two tasks on RocksDB, a job that goes on, exactly once: every member at twenty instants, every record accounted for."""
    bench = job_bench(
        slots=2,
        job={"clock": "replay", "parallelism": 2, "disorder": f"{DISORDER}ms", "idle_after": "3s"},
        checkpoints={"backend": "rocksdb"},
    )
    sent = replay(bench, raw)
    rejected = len(bench.read("dead_letters"))
    bench.submit(EXAMPLE / "rules")
    check_accounts(bench.wait_received(sent), sent)
    # Time goes on to the newest event of all, less the disorder, once all partitions are read.
    last = one(raw, "SELECT max(happened) FROM invoices") - DISORDER - 1
    assert max(instants(raw)) <= last
    bench.wait_watermark(last)
    totals = bench.totals()
    assert totals["applied"] == sent
    assert totals["entered"] + totals["exited"] > 2_000
    assert bench.restarts() == 0
    bench.stop()
    told = bench.told()
    assert len(told) == totals["entered"] + totals["exited"]
    assert len({change.id for change in told}) == len(told)
    seen = check_members(told, raw)
    assert min(seen.values()) >= 100, seen
    assert len(bench.read("dead_letters")) == rejected > 0
    assert bench.read("late_events") == []
    # The compacted topic says who is where in the end.
    assert bench.members() == members_in_the_end(told)


def members_in_the_end(told: Sequence[Told]) -> dict[str, set[str]]:
    """The segments that each customer is in after all transitions, without those who are in none."""
    members: dict[str, set[str]] = defaultdict(set)
    for (segment, customer), stays in intervals(told).items():
        if stays[-1][1] == 2**62:
            members[customer].add(segment)
    return dict(members)


def test_a_job_with_an_end_says_the_same_whatever_the_backend(
    job_bench: BenchMaker, raw: duckdb.DuckDBPyConnection
) -> None:
    """One task on the heap, which reads what is there and ends: the same members, and the last timers are not forgotten."""
    bench = job_bench(job={"clock": "replay", "stop": "latest", "disorder": f"{DISORDER}ms"})
    replay(bench, raw)
    bench.submit(EXAMPLE / "rules", wait=False)
    bench.finish()
    told = bench.told()
    check_members(told, raw)
    # Who is silent at the end leaves as time passes, up to the newest event of all less the disorder.
    end = one(raw, "SELECT max(happened) FROM invoices")
    last = end - DISORDER - 1
    late = {str(who) for (who,) in raw.execute("SELECT customer FROM invoices WHERE happened > ?", [last]).fetchall()}
    expected = {who for who in sql_members(raw, last) if who[1] not in late}
    expected |= {who for who in sql_members(raw, end) if who[1] in late}
    assert current(told) == expected


def current(told: Sequence[Told]) -> set[tuple[str, str]]:
    """Every (segment, customer) after all transitions."""
    return {who for who, stays in intervals(told).items() if stays[-1][1] == 2**62}
