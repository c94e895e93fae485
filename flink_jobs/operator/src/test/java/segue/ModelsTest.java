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
        try (MessageBufferPacker packer = MessagePack.newDefaultBufferPacker()) {
            packer.packArrayHeader(5).packString(model).packString(candidate).packLong(version).packString("champion").packString("stream");
            packer.writePayload(OperatorBench.bytes("#" + model + candidate + version));
            return ModelRecord.element(null, packer.toByteArray());
        }
    }

    private static byte[] deleted(String key) {
        return ModelRecord.element(OperatorBench.bytes(key), null);
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

    @Test
    void theNewestOfEachCandidateIsToldAgainAfterARestartInOrderAndUncounted() throws Exception {
        OperatorSubtaskState state;
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open()) {
            bench.broadcast(record("m", "tree", 4));
            bench.broadcast(record("m", "line", 5));
            bench.broadcast(record("m", "tree", 6));
            bench.broadcast(record("m", "tree", 2));
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
            bench.broadcast(ModelRecord.element(null, OperatorBench.bytes("nonsense")));
            bench.broadcast(ModelRecord.element(null, new byte[0]));
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
        assertNull(ModelRecord.element(null, null));
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
