package segue;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import org.apache.flink.runtime.checkpoint.OperatorSubtaskState;
import org.apache.flink.runtime.state.StateBackend;
import org.apache.flink.runtime.state.hashmap.HashMapStateBackend;
import org.apache.flink.state.rocksdb.EmbeddedRocksDBStateBackend;
import org.apache.flink.streaming.api.watermark.Watermark;
import org.apache.flink.streaming.runtime.watermarkstatus.WatermarkStatus;
import org.apache.flink.streaming.util.AbstractStreamOperatorTestHarness;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Batches, time and state. The harness's processing time stands at 0 unless a test moves it, so nothing lingers out by itself. */
@Timeout(120)
class SegmentOperatorTest {
    private static final long NEVER = Long.MIN_VALUE;

    @TempDir Path folder;

    @Test
    void arrivalsLingerForCompanyAndGoInOneFrameByCustomer() throws Exception {
        try (OperatorBench bench = new OperatorBench(OperatorBench.config().setLingerMillis(5)).open()) {
            bench.send("a", "one");
            bench.send("b", "two");
            bench.send("a", "three");
            assertEquals(List.of(), bench.frames());
            bench.harness.setProcessingTime(5);
            bench.until(() -> bench.said().size() == 3);
            assertEquals(List.of("a=2,b=1"), bench.frames());
            assertEquals(
                    List.of("a:one|1|" + NEVER + "|0:0|3|", "a:three|2|" + NEVER + "|0:2|5|", "b:two|1|" + NEVER + "|0:1|3|"),
                    bench.said());
        }
    }

    @Test
    void withoutLingerTheFirstGoesAtOnceAndTheNextGatherMeanwhile() throws Exception {
        Path gate = folder.resolve("gate");
        try (OperatorBench bench = new OperatorBench(OperatorBench.config().setLingerMillis(0)).open()) {
            bench.send("a", "wait " + gate);
            bench.until(() -> Files.exists(Path.of(gate + ".seen")));
            bench.send("a", "two");
            bench.send("b", "three");
            assertEquals(List.of(), bench.frames());
            Files.createFile(gate);
            bench.until(() -> bench.said().size() == 3);
            assertEquals(List.of("a=1", "a=1,b=1"), bench.frames());
            // The second frame carried the state that the first one left.
            assertTrue(bench.said().get(1).startsWith("a:two|2|"), bench.said().toString());
        }
    }

    @Test
    void aFullBatchIsSentWithoutLinger() throws Exception {
        try (OperatorBench bench = new OperatorBench(OperatorBench.config().setMaxBatch(3).setLingerMillis(60_000)).open()) {
            for (int i = 0; i < 7; i++) {
                bench.send("c" + i % 2, "x");
            }
            bench.until(() -> bench.said().size() == 6);
            assertEquals(List.of("c0=2,c1=1", "c1=2,c0=1"), bench.frames());
            bench.snapshot();
            assertEquals(7, bench.said().size());
        }
    }

    @Test
    void everythingIsWorkedOffBeforeAWatermarkGoesOn() throws Exception {
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open()) {
            bench.send("a", "at 100");
            bench.send("b", "at 200");
            bench.watermark(99);
            bench.send("c", "x");
            bench.watermark(100);
            bench.watermark(1000);
            assertEquals(
                    List.of("at 100", "at 200", "@99", "x", "timer@100", "@100", "timer@200", "@1000"), bench.order());
            // What was gathered before a watermark is judged at the one before it, a timer at the one that fires it.
            assertEquals(
                    List.of("a:at 100|1|" + NEVER + "|0:0|6|", "b:at 200|1|" + NEVER + "|0:1|6|", "c:x|1|99|0:2|1|",
                            "a:timer@100|2|100|-1:-1|0|", "b:timer@200|2|1000|-1:-1|0|"),
                    bench.said());
            assertEquals(0, bench.timers());
        }
    }

    @Test
    void moreTimersThanABatchHoldsFireBeforeTheWatermark() throws Exception {
        try (OperatorBench bench = new OperatorBench(OperatorBench.config().setMaxBatch(10)).open()) {
            for (int i = 0; i < 95; i++) {
                bench.send("c" + i, "at " + (i + 1));
            }
            bench.watermark(95);
            assertEquals(190, bench.said().size());
            assertEquals(95, bench.total("due"));
            assertEquals("@95", bench.order().get(190));
        }
    }

    @Test
    void aLaterTimerWaitsForTheArmedOneAndAnEarlierOneReplacesIt() throws Exception {
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open()) {
            bench.send("a", "at 100");
            bench.watermark(1);
            bench.send("a", "at 300");
            bench.watermark(2);
            assertEquals(1, bench.timers());
            bench.watermark(100);
            assertEquals(1, bench.total("woken"));
            assertEquals(0, bench.total("due"));
            assertEquals(1, bench.timers());

            bench.send("a", "at 200");
            bench.watermark(199);
            assertEquals(1, bench.timers());
            bench.watermark(200);
            assertEquals(1, bench.total("due"));
            bench.watermark(1000);
            assertEquals(1, bench.total("due"));
            assertEquals(1, bench.total("woken"));
            assertEquals(0, bench.timers());
        }
    }

    @Test
    void aTimerNoLongerWantedFiresOnceAndFindsNothing() throws Exception {
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open()) {
            bench.send("a", "at 100");
            bench.watermark(1);
            bench.send("a", "never");
            bench.watermark(100);
            bench.watermark(200);
            assertEquals(1, bench.total("woken"));
            assertEquals(0, bench.total("due"));
            assertEquals(1, bench.harness.numKeyedStateEntries());
        }
    }

    @Test
    void removalLeavesNeitherStateNorTimer() throws Exception {
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open()) {
            bench.send("a", "at 100");
            bench.watermark(1);
            assertEquals(1, bench.harness.numKeyedStateEntries());
            bench.send("a", "forget");
            bench.watermark(2);
            assertEquals(0, bench.harness.numKeyedStateEntries());
            assertEquals(0, bench.timers());
            bench.send("a", "again");
            bench.watermark(1000);
            assertEquals("a:again|1|2|0:2|5|", bench.said().get(2));
            assertEquals(0, bench.total("woken"));
        }
    }

    @Test
    void aTimerLivesWithoutAProfile() throws Exception {
        OperatorSubtaskState state;
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open()) {
            bench.send("a", "forget;at 100");
            state = bench.snapshot();
            assertEquals(1, bench.timers());
        }
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open(state)) {
            bench.watermark(100);
            // The worker finds no profile, so to it nothing is due; what matters is that it was asked.
            assertEquals(1, bench.total("woken"));
            assertEquals(0, bench.timers());
        }
    }

    @Test
    void anUnnamedCustomerHasNoState() throws Exception {
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open()) {
            bench.send("", "at 100");
            bench.watermark(1);
            bench.send("", "x");
            bench.watermark(1000);
            assertEquals(List.of(":at 100|1|" + NEVER + "|0:0|6|", ":x|1|1|0:1|1|"), bench.said());
            assertEquals(0, bench.timers());
            assertEquals(0, bench.harness.numKeyedStateEntries());
        }
    }

    @Test
    void tombstonesCutValuesAndForeignKeysReachTheWorker() throws Exception {
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open()) {
            bench.send("a", null);
            bench.send("a", OperatorBench.bytes("cut"), 5_000_000, OperatorBench.bytes(" a"));
            bench.snapshot();
            assertEquals(List.of("a:none|1|" + NEVER + "|0:0|0|", "a:cut|2|" + NEVER + "|0:1|5000000| a"), bench.said());
        }
    }

    @Test
    void statesThatDoNotFitIntoOneFrameGoInSeveral() throws Exception {
        WorkerConfig config = OperatorBench.config().setMaxFrameBytes(20_000).setLingerMillis(60_000);
        try (OperatorBench bench = new OperatorBench(config).open()) {
            for (int i = 0; i < 10; i++) {
                bench.send("c" + i, "grow 6000");
                bench.snapshot();
            }
            int before = bench.frames().size();
            for (int i = 0; i < 10; i++) {
                bench.send("c" + i, "x");
            }
            bench.snapshot();
            assertEquals(20, bench.said().size());
            assertEquals(4, bench.frames().size() - before);
            assertEquals("c0=1,c1=1,c2=1", bench.frames().get(before));
            assertEquals("c9=1", bench.frames().get(before + 3));
        }
    }

    @Test
    void theEndOfABoundedInputFiresNoTimer() throws Exception {
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open()) {
            bench.send("a", "at 100");
            bench.watermark(50);
            bench.send("b", "last");
            bench.watermark(Long.MAX_VALUE);
            assertEquals(List.of("at 100", "@50", "last", "@" + Long.MAX_VALUE), bench.order());
            assertEquals("b:last|1|50|0:1|4|", bench.said().get(1));
            assertEquals(1, bench.timers());
        }
    }

    @Test
    void finishWorksOffWhatIsGathered() throws Exception {
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open()) {
            bench.send("a", "x");
            bench.harness.endAllInputs();
            bench.operator.finish();
            assertEquals(1, bench.said().size());
        }
    }

    @Test
    void theRulesClockMovesTheOperatorWhileEventsAreIdle() throws Exception {
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open()) {
            bench.send("a", "at 100");
            bench.harness.processWatermark1(new Watermark(50));
            assertEquals(List.of(), bench.order());
            bench.harness.processWatermark2(new Watermark(200));
            assertEquals(List.of("at 100", "@50"), bench.order());
            bench.harness.processWatermarkStatus1(WatermarkStatus.IDLE);
            assertEquals(List.of("at 100", "@50", "timer@100", "@200"), bench.order());
            bench.harness.processWatermark2(new Watermark(300));
            assertEquals("@300", bench.order().get(4));
        }
    }

    /** A job that started on a backlog once took all of it for late: the clock ran to the present before the first record was read. */
    @Test
    void theRulesClockWaitsForTheFirstEvent() throws Exception {
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open()) {
            bench.harness.processWatermarkStatus1(WatermarkStatus.IDLE);
            bench.harness.processWatermark2(new Watermark(200));
            bench.harness.processWatermarkStatus1(WatermarkStatus.ACTIVE);
            bench.send("a", "at 100");
            bench.harness.processWatermark2(new Watermark(200));
            bench.harness.processWatermark1(new Watermark(150));
            assertEquals(List.of("at 100", "timer@100", "@150"), bench.order());
        }
    }

    @Test
    void theRulesClockGoesOnIfNoEventComesForLong() throws Exception {
        try (OperatorBench bench = new OperatorBench(OperatorBench.config().setClockGraceMillis(1000)).open()) {
            bench.harness.processWatermarkStatus1(WatermarkStatus.IDLE);
            bench.harness.setProcessingTime(999);
            bench.harness.processWatermark2(new Watermark(200));
            assertEquals(List.of(), bench.order());
            bench.harness.setProcessingTime(1000);
            bench.harness.processWatermark2(new Watermark(300));
            assertEquals(List.of("@300"), bench.order());
        }
    }

    @Test
    void aSnapshotWithAFrameOnItsWayLosesAndRepeatsNothing() throws Exception {
        Path gate = folder.resolve("gate");
        OperatorSubtaskState state;
        try (OperatorBench bench = new OperatorBench(OperatorBench.config().setLingerMillis(0)).open()) {
            bench.send("a", "at 100;wait " + gate);
            bench.until(() -> Files.exists(Path.of(gate + ".seen")));
            bench.send("a", "second");
            bench.send("b", "at 200");
            assertEquals(0, bench.said().size());
            Files.createFile(gate);
            state = bench.snapshot();
            assertEquals(3, bench.said().size());
        }
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open(state)) {
            assertEquals(2, bench.timers());
            bench.watermark(200);
            assertEquals(List.of("a:timer@100|3|200|-1:-1|0|", "b:timer@200|2|200|-1:-1|0|"), bench.said());
        }
    }

    @Test
    void lazyTimersSurviveARestoreUnfiredAndUnrepeated() throws Exception {
        OperatorSubtaskState state;
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open()) {
            bench.send("a", "at 100");
            bench.watermark(1);
            bench.send("a", "at 300");
            state = bench.snapshot();
        }
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open(state)) {
            bench.watermark(100);
            assertEquals(1, bench.total("woken"));
            state = bench.snapshot();
        }
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open(state)) {
            bench.watermark(299);
            assertEquals(0, bench.total("due"));
            bench.watermark(300);
            assertEquals(1, bench.total("due"));
            assertEquals(1, bench.total("woken"));
        }
    }

    @Test
    void totalsSurviveRestoreAndRescaleExactly() throws Exception {
        OperatorSubtaskState state;
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open()) {
            bench.send("a", "count applied");
            bench.send("b", "count applied");
            bench.send("c", "count late");
            state = bench.snapshot();
            bench.send("d", "count late");
            bench.watermark(1);
            assertEquals(2, bench.total("late"));
        }
        OperatorSubtaskState[] halves = new OperatorSubtaskState[2];
        long[] applied = new long[2];
        long[] received = new long[2];
        for (int i = 0; i < 2; i++) {
            OperatorSubtaskState share = AbstractStreamOperatorTestHarness.repartitionOperatorState(
                    state, OperatorBench.MAX_PARALLELISM, 1, 2, i);
            try (OperatorBench bench = new OperatorBench(OperatorBench.config(), 2, i).open(share)) {
                applied[i] = bench.total("applied");
                received[i] = bench.total("received");
                halves[i] = bench.snapshot();
            }
        }
        assertEquals(2, applied[0] + applied[1]);
        assertEquals(3, received[0] + received[1]);
        OperatorSubtaskState both = AbstractStreamOperatorTestHarness.repackageState(halves);
        OperatorSubtaskState one = AbstractStreamOperatorTestHarness.repartitionOperatorState(
                both, OperatorBench.MAX_PARALLELISM, 2, 1, 0);
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open(one)) {
            assertEquals(2, bench.total("applied"));
            assertEquals(1, bench.total("late"));
            assertEquals(3, bench.total("received"));
            bench.send("a", "x");
            bench.watermark(1);
            assertEquals("a:x|2|" + NEVER + "|0:0|1|", bench.said().get(0));
        }
    }

    /** However arrivals fall into batches, and wherever state is kept, each customer sees the same, and every timer fires once. */
    @Test
    void batchingMakesNoDifference() throws Exception {
        List<String> expected = randomDay(1, new HashMapStateBackend());
        assertEquals(expected, randomDay(2, new HashMapStateBackend()));
        assertEquals(expected, randomDay(7, new HashMapStateBackend()));
        assertEquals(expected, randomDay(500, new HashMapStateBackend()));
        assertEquals(expected, randomDay(7, new EmbeddedRocksDBStateBackend()));
    }

    /** The same arrivals each time, with a checkpoint and a restore half way; answers with what was said, sorted. */
    private static List<String> randomDay(int maxBatch, StateBackend backend) throws Exception {
        Random random = new Random(7);
        WorkerConfig config = OperatorBench.config().setMaxBatch(maxBatch).setLingerMillis(0);
        List<String> said = new ArrayList<>();
        OperatorSubtaskState state = null;
        for (int half = 0; half < 2; half++) {
            try (OperatorBench bench = new OperatorBench(config).on(backend).open(state)) {
                for (int time = half * 15; time < half * 15 + 15; time++) {
                    for (int i = 0; i < 20; i++) {
                        String customer = "c" + random.nextInt(40);
                        int kind = random.nextInt(10);
                        bench.send(customer, kind < 6 ? "at " + (time + 1 + random.nextInt(9)) : kind < 7 ? "forget" : "x");
                    }
                    bench.watermark(time);
                }
                if (half == 0) {
                    state = bench.snapshot();
                } else {
                    bench.watermark(100);
                    assertEquals(0, bench.timers());
                    assertTrue(bench.total("due") > 50, "timers fired: " + bench.total("due"));
                    assertTrue(bench.total("woken") > 20, "wake-ups: " + bench.total("woken"));
                }
                said.addAll(bench.said());
            }
        }
        Collections.sort(said);
        return said;
    }
}
