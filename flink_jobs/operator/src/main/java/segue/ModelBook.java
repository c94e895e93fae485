package segue;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.apache.flink.api.common.state.BroadcastState;

/**
 * The newest version of each candidate of each model, in broadcast state, for the worker to be told again: after a restart, and under a
 * new rule set, which may know a model that the one before did not. So each subtask keeps all of them, and a checkpoint has them once for
 * each subtask.
 */
final class ModelBook {
    /** Far more candidates than there are; whoever makes up names would fill the memory. */
    private static final int MOST_KEPT = 300;

    private final BroadcastState<String, byte[]> state;
    private final SegmentOperator operator;
    private final int mostBytes;

    ModelBook(BroadcastState<String, byte[]> state, SegmentOperator operator, int mostBytes) {
        this.state = state;
        this.operator = operator;
        this.mostBytes = mostBytes;
    }

    /** A version was published, or deleted. */
    void hear(byte[] element) throws Exception {
        Optional<ModelRecord> read = ModelRecord.read(element, mostBytes);
        if (read.isEmpty()) {
            operator.count("models_dropped");
            return;
        }
        ModelRecord record = read.get();
        byte[] kept = state.get(record.key());
        long newest = kept == null ? 0 : ModelRecord.read(kept, mostBytes).map(ModelRecord::version).orElse(0L);
        if (record.isDeleted()) {
            if (record.version() == newest) {
                state.remove(record.key());
            }
            return;
        }
        if (record.version() > newest && (kept != null || size() < MOST_KEPT)) {
            state.put(record.key(), element);
            operator.tellModel(element, false);
        }
        operator.passToLearner(element);
    }

    /**
     * Tells the worker of all that are kept, in their order.
     *
     * @param again it knew them before, and is to have them before anything else happens
     */
    void tellAll(boolean again) throws Exception {
        for (ModelRecord record : kept()) {
            operator.tellModel(record.element(), again);
        }
    }

    /** Has the learner hear of all that are kept: it may know a model by now that it did not when they came. */
    void passAll() throws Exception {
        for (ModelRecord record : kept()) {
            operator.passToLearner(record.element());
        }
    }

    private List<ModelRecord> kept() throws Exception {
        List<ModelRecord> records = new ArrayList<>();
        for (Map.Entry<String, byte[]> entry : state.entries()) {
            ModelRecord.read(entry.getValue(), mostBytes).ifPresent(records::add);
        }
        records.sort(Comparator.comparing(ModelRecord::model).thenComparingLong(ModelRecord::version));
        return records;
    }

    private int size() throws Exception {
        int size = 0;
        for (Map.Entry<String, byte[]> ignored : state.entries()) {
            size++;
        }
        return size;
    }
}
