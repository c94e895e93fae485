package segue;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;
import org.apache.flink.api.common.state.BroadcastState;

/**
 * Versions of each candidate of each model, in broadcast state, for the worker to be told again: after a restart, and under a new rule set,
 * which may know a model that the one before did not. So each subtask keeps all of them, and a checkpoint has them once for each subtask.
 *
 * <p>Of a candidate there is the newest version that the worker is known to have taken, and beside it, if there is one, the newest above
 * that of which this is not known: it may be corrupt behind its header, made for other rules than these, or still be read. So whatever
 * comes, the one that works is there.
 */
final class ModelBook {
    /** Far more candidates than there are; whoever makes up names would fill the memory. */
    private static final int MOST_KEPT = 300;

    /** Behind the key of a candidate, which has no such ending: what is known to work. Savepoints of before have nothing under it. */
    private static final String TAKEN = "/taken";

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
        if (record.isDeleted()) {
            delete(record);
            return;
        }
        // Not what is newest counts, but what works: a corrupt version with a high number must not keep out those that come after it.
        if (record.version() > version(taken(record.key())) && (isKept(record.key()) || candidates() < MOST_KEPT)) {
            settle(record, operator.tellModel(element, false));
        }
        // The learner knows what it has published. To send it back would be to wait until it has time for it: a large version is more than
        // the buffers between the two hold, and meanwhile nobody would be served.
        if (!record.isOwn()) {
            operator.passToLearner(element);
        }
    }

    private void delete(ModelRecord deleted) throws Exception {
        for (String key : List.of(deleted.key(), deleted.key() + TAKEN)) {
            if (version(at(key)) == deleted.version()) {
                state.remove(key);
            }
        }
    }

    /**
     * Keeps what is to be kept of a candidate.
     *
     * @param told the version that the worker has just been told of
     * @param held the one that it holds now; 0 for none
     */
    private void settle(ModelRecord told, long held) throws Exception {
        String key = told.key();
        ModelRecord before = taken(key);
        ModelRecord open = at(key);
        ModelRecord works = Stream.of(told, open)
                .filter(one -> one != null && one.version() == held && held > version(before))
                .findFirst()
                .orElse(before);
        put(key + TAKEN, works);
        put(key, Stream.of(told, open)
                .filter(one -> one != null && one.version() > version(works))
                .max(Comparator.comparingLong(ModelRecord::version))
                .orElse(null));
    }

    private void put(String key, ModelRecord record) throws Exception {
        if (record == null) {
            state.remove(key);
        } else {
            state.put(key, record.element());
        }
    }

    /**
     * Tells the worker of all that are kept, in their order.
     *
     * @param again it knew them before, and is to have them before anything else happens
     */
    void tellAll(boolean again) throws Exception {
        for (ModelRecord record : kept()) {
            settle(record, operator.tellModel(record.element(), again));
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
            records.add(read(entry.getValue()));
        }
        records.removeIf(Objects::isNull);
        records.sort(Comparator.comparing(ModelRecord::model).thenComparingLong(ModelRecord::version));
        return records;
    }

    private ModelRecord taken(String key) throws Exception {
        return at(key + TAKEN);
    }

    private ModelRecord at(String key) throws Exception {
        return read(state.get(key));
    }

    private ModelRecord read(byte[] element) {
        return element == null ? null : ModelRecord.read(element, mostBytes).orElse(null);
    }

    private static long version(ModelRecord record) {
        return record == null ? 0 : record.version();
    }

    private boolean isKept(String key) throws Exception {
        return state.contains(key) || state.contains(key + TAKEN);
    }

    private int candidates() throws Exception {
        Set<String> keys = new HashSet<>();
        for (Map.Entry<String, byte[]> entry : state.entries()) {
            String key = entry.getKey();
            keys.add(key.endsWith(TAKEN) ? key.substring(0, key.length() - TAKEN.length()) : key);
        }
        return keys.size();
    }
}
