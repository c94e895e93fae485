package segue;

import java.io.IOException;
import java.util.Arrays;
import java.util.Optional;
import org.apache.flink.api.common.TaskInfo;
import org.apache.flink.runtime.state.KeyGroupRangeAssignment;
import org.msgpack.core.MessagePack;
import org.msgpack.core.MessagePackException;
import org.msgpack.core.MessageUnpacker;

/**
 * What the operator needs to know of a record of the control topic: whom it concerns. The worker reads the rest.
 *
 * @param kind one of the constants
 * @param version the rule set's, of a request 0
 * @param customer whom it concerns; empty for the end of a handover, which concerns all
 * @param value the record as it came
 */
record ControlRecord(int kind, long version, String customer, byte[] value) {
    /** A customer's profile by history. */
    static final int HANDOVER = 1;
    /** All customers have been handed over. */
    static final int END = 2;
    /** Somebody asks why a customer is where they are. */
    static final int REQUEST = 3;

    /** Begins no JSON and no msgpack, so no rule set is ever taken for a control record, nor the other way round. */
    private static final byte MARK = (byte) 0xc1;

    private static final int MOST_PARTS = 8;

    static byte[] marked(byte[] value) {
        byte[] marked = new byte[value.length + 1];
        marked[0] = MARK;
        System.arraycopy(value, 0, marked, 1, value.length);
        return marked;
    }

    static boolean isOne(byte[] element) {
        return element.length > 0 && element[0] == MARK;
    }

    /** The record in a marked element; empty where it is none. */
    static Optional<ControlRecord> read(byte[] element, int mostBytes) {
        if (element.length > mostBytes) {
            return Optional.empty();
        }
        byte[] value = Arrays.copyOfRange(element, 1, element.length);
        try (MessageUnpacker unpacker = MessagePack.newDefaultUnpacker(value)) {
            int parts = unpacker.unpackArrayHeader();
            if (parts < 3 || parts > MOST_PARTS) {
                return Optional.empty();
            }
            int kind = unpacker.unpackInt();
            if (kind == END) {
                return Optional.of(new ControlRecord(kind, unpacker.unpackLong(), CustomerText.NOBODY, value));
            }
            long version = 0;
            if (kind == HANDOVER) {
                version = unpacker.unpackLong();
            } else if (kind == REQUEST) {
                unpacker.skipValue();
            } else {
                return Optional.empty();
            }
            String customer = unpacker.unpackString();
            boolean somebody = !customer.isEmpty() && CustomerText.of(customer).equals(customer);
            return somebody ? Optional.of(new ControlRecord(kind, version, customer, value)) : Optional.empty();
        } catch (IOException | MessagePackException malformed) {
            return Optional.empty();
        }
    }

    /** Whether the state of its customer is with this subtask. */
    boolean concerns(TaskInfo task) {
        int most = task.getMaxNumberOfParallelSubtasks();
        int owner = KeyGroupRangeAssignment.assignKeyToParallelOperator(customer, most, task.getNumberOfParallelSubtasks());
        return owner == task.getIndexOfThisSubtask();
    }

    /** The record as something that happens to its customer. */
    Arrival arrival() {
        return Arrival.control(kind == REQUEST ? Arrival.REQUEST : Arrival.HANDOVER, value);
    }
}
