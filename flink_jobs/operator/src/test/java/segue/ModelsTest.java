package segue;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import org.apache.flink.runtime.checkpoint.OperatorSubtaskState;
import org.apache.flink.types.Row;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.msgpack.core.MessageBufferPacker;
import org.msgpack.core.MessagePack;

/** Versions of models that come by broadcast: to the worker, kept for the next one, and on to the learner. */
@Timeout(120)
class ModelsTest {
    private static byte[] record(String model, String candidate, long version) throws IOException {
        return record(model, candidate, version, "");
    }

    /** With a mark of "bad" the worker refuses it; with "big" it takes it only where it must be now, as if it were long to read. */
    private static byte[] record(String model, String candidate, long version, String mark) throws IOException {
        try (MessageBufferPacker packer = MessagePack.newDefaultBufferPacker()) {
            packer.packArrayHeader(5).packString(model).packString(candidate).packLong(version).packString("champion").packString("stream");
            packer.writePayload(OperatorBench.bytes("#" + mark + model + candidate + version));
            return ModelRecord.element(null, packer.toByteArray(), false);
        }
    }

    private static byte[] deleted(String key) {
        return ModelRecord.element(OperatorBench.bytes(key), null, false);
    }

    private static List<String> told(OperatorBench bench) {
        return bench.said(4).stream().filter(one -> one.startsWith("model:")).toList();
    }

    @Test
    void aVersionReachesTheWorkerBehindWhatWasGatheredAndTheLearnerOnce() throws Exception {
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open()) {
            bench.send("a", "x");
            bench.broadcast(record("m", "tree", 1));
            assertEquals(List.of("rules:version 1 taken", "a=1", "model:mtree1|soon"), bench.said(4));
            List<Row> passed = bench.harness.extractOutputValues().stream()
                    .filter(row -> (int) row.getField(0) == ToLearner.DESTINATION).toList();
            assertEquals(1, passed.size());
            assertEquals("model", new String((byte[]) passed.get(0).getField(1)));
            assertTrue(Arrays.equals(record("m", "tree", 1), (byte[]) passed.get(0).getField(2)));
            assertEquals(1, bench.total("models_seen"));
        }
        try (OperatorBench bench = new OperatorBench(OperatorBench.config(), 2, 1).open()) {
            bench.broadcast(record("m", "tree", 1));
            assertEquals(List.of("model:mtree1|soon"), told(bench));
            assertEquals(List.of(), bench.said(ToLearner.DESTINATION));
        }
    }

    /** A version of 10 MB that went back to a learner at work on a batch filled all buffers, and customers waited for as long as that took. */
    @Test
    void whatTheJobHasPublishedItselfDoesNotGoBackToItsLearner() throws Exception {
        OperatorSubtaskState state;
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open()) {
            byte[] own = own(record("m", "tree", 2));
            assertTrue(ModelRecord.isOne(own));
            bench.broadcast(own);
            bench.broadcast(record("m", "line", 3));
            assertEquals(List.of("model:mtree2|soon", "model:mline3|soon"), told(bench));
            List<String> passed = bench.said(ToLearner.DESTINATION);
            assertEquals(1, passed.size());
            assertTrue(passed.get(0).contains("mline3"), passed.get(0));
            state = bench.snapshot();
        }
        // Another life of the job may have another learner, which knows nothing yet.
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open(state)) {
            bench.broadcast(OperatorBench.rules(2));
            assertEquals(List.of("model:mtree2|soon", "model:mline3|soon"), told(bench));
            assertEquals(2, bench.said(ToLearner.DESTINATION).size());
        }
    }

    private static byte[] own(byte[] element) {
        return ModelRecord.element(null, Arrays.copyOfRange(element, 1, element.length), true);
    }

    @Test
    void theNewestOfEachCandidateIsToldAgainAfterARestartInOrderAndUncounted() throws Exception {
        OperatorSubtaskState state;
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open()) {
            bench.broadcast(record("m", "tree", 4));
            bench.broadcast(record("m", "line", 5));
            bench.broadcast(record("m", "tree", 6));
            bench.broadcast(record("m", "tree", 2));
            bench.broadcast(record("m", "tree", 6));
            bench.broadcast(record("a", "tree", 9));
            assertEquals(List.of("model:mtree4|soon", "model:mline5|soon", "model:mtree6|soon", "model:atree9|soon"), told(bench));
            state = bench.snapshot();
        }
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open(state)) {
            assertEquals(List.of(), bench.said(4));
            assertEquals(4, bench.total("models_seen"));
            bench.broadcast(OperatorBench.rules(2));
            assertEquals(List.of("model:atree9|soon", "model:mline5|soon", "model:mtree6|soon"), told(bench));
            assertEquals(3, bench.said(ToLearner.DESTINATION).size());
        }
    }

    /** What a worker is told when it starts on this state and comes under another rule set. */
    private static List<String> toldAfter(OperatorSubtaskState state) throws Exception {
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open(state)) {
            bench.broadcast(OperatorBench.rules(2));
            return told(bench);
        }
    }

    /** A version that is corrupt behind its header once hid all older ones from a job that restarts, and those between from any job. */
    @Test
    void aRefusedVersionHidesNeitherTheOneThatWorksNorThoseThatComeAfter() throws Exception {
        OperatorSubtaskState state;
        OperatorSubtaskState later;
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open()) {
            bench.broadcast(record("m", "tree", 5));
            bench.broadcast(record("m", "tree", 900, "bad"));
            state = bench.snapshot();
            bench.broadcast(record("m", "tree", 6));
            bench.broadcast(record("m", "tree", 800, "bad"));
            bench.broadcast(record("m", "tree", 4));
            bench.broadcast(record("m", "tree", 7));
            assertEquals(
                    List.of("model:mtree5|soon", "model:badmtree900|soon", "model:mtree6|soon", "model:badmtree800|soon",
                            "model:mtree7|soon"),
                    told(bench));
            later = bench.snapshot();
        }
        assertEquals(List.of("model:mtree5|soon", "model:badmtree900|soon"), toldAfter(state));
        assertEquals(List.of("model:mtree7|soon", "model:badmtree900|soon"), toldAfter(later));
    }

    @Test
    void aRefusedVersionIsLetGoOfWhenItIsDeletedOrANewerOneWorks() throws Exception {
        OperatorSubtaskState deleted;
        OperatorSubtaskState newer;
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open()) {
            bench.broadcast(record("m", "tree", 5));
            bench.broadcast(record("m", "tree", 9, "bad"));
            bench.broadcast(deleted("m/tree/9"));
            deleted = bench.snapshot();
            bench.broadcast(record("m", "tree", 9, "bad"));
            bench.broadcast(record("m", "tree", 10));
            newer = bench.snapshot();
        }
        assertEquals(List.of("model:mtree5|soon"), toldAfter(deleted));
        assertEquals(List.of("model:mtree10|soon"), toldAfter(newer));
    }

    @Test
    void aVersionThatIsStillReadIsKeptBesideTheOneBeforeUntilItIsKnownToWork() throws Exception {
        OperatorSubtaskState reading;
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open()) {
            bench.broadcast(record("m", "tree", 5));
            bench.broadcast(record("m", "tree", 8, "big"));
            reading = bench.snapshot();
        }
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open(reading)) {
            bench.broadcast(record("m", "tree", 7));
            bench.broadcast(OperatorBench.rules(2));
            assertEquals(List.of("model:bigmtree8|soon"), told(bench), "after the restart it is there");
        }
    }

    @Test
    void whatIsDeletedIsKeptNoLongerUnlessItIsAnOlderVersion() throws Exception {
        OperatorSubtaskState state;
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open()) {
            bench.broadcast(record("m", "tree", 1));
            bench.broadcast(record("m", "tree", 2));
            bench.broadcast(record("m", "line", 3));
            bench.broadcast(deleted("m/tree/1"));
            bench.broadcast(deleted("m/line/3"));
            state = bench.snapshot();
        }
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open(state)) {
            bench.broadcast(OperatorBench.rules(2));
            assertEquals(List.of("model:mtree2|soon"), told(bench));
        }
    }

    @Test
    void whatIsNoRecordOfAModelIsCountedAndDropped() throws Exception {
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open()) {
            bench.broadcast(ModelRecord.element(null, OperatorBench.bytes("nonsense"), false));
            bench.broadcast(ModelRecord.element(null, new byte[0], false));
            bench.broadcast(record("a/b", "tree", 1));
            bench.broadcast(record("m", "tree", 0));
            bench.broadcast(deleted("m/tree"));
            bench.broadcast(deleted("m/tree/x"));
            assertEquals(6, bench.total("models_dropped"));
            assertEquals(List.of(), told(bench));
        }
        try (OperatorBench bench = new OperatorBench(OperatorBench.config().setMaxFrameBytes(4096)).open()) {
            byte[] long_ = Arrays.copyOf(record("m", "tree", 1), 2000);
            bench.broadcast(long_);
            assertEquals(1, bench.total("models_dropped"));
        }
        assertNull(ModelRecord.element(null, null, false));
        assertFalse(ModelRecord.isOne(OperatorBench.rules(1)));
    }

    @Test
    void rowsGoToTheLearnerOrToTopics() {
        Row example = Row.of(ToLearner.DESTINATION, null, new byte[0]);
        Row change = Row.of(0, null, new byte[0]);
        assertTrue(ToLearner.only().filter(example) && !ToLearner.only().filter(change));
        assertTrue(ToLearner.none().filter(change) && !ToLearner.none().filter(example));
    }
}
