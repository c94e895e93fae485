package segue;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * Something that happens to a customer: a record, a timer that fired, something from the control topic, or a look at them.
 *
 * @param value the record's bytes, or null for a tombstone or a timer
 * @param time the record's time or the timer's, epoch ms
 * @param partition the record's, or one of the constants
 * @param size the record's full length, greater than the value's where it was cut off
 * @param key the record's key, or null where it is the customer
 */
record Arrival(byte[] value, long time, int partition, long offset, int size, byte[] key) {
    static final int TIMER = -1;
    /** The customer's profile by history, or of nobody: the end of all of them. */
    static final int HANDOVER = -2;
    /** A look at the customer under new rules, or of nobody: the end of the walk through all of them. */
    static final int RECONCILE = -3;
    /** A request to explain. */
    static final int REQUEST = -4;

    static Arrival timer(long time) {
        return new Arrival(null, time, TIMER, -1, 0, null);
    }

    static Arrival control(int partition, byte[] record) {
        return new Arrival(record, 0, partition, -1, record.length, null);
    }

    static Arrival reconcile() {
        return new Arrival(null, 0, RECONCILE, -1, 0, null);
    }

    /** Word that so many customers were looked at, and that these were all. */
    static Arrival reconciled(long customers) {
        return new Arrival(null, 0, RECONCILE, customers, 0, null);
    }

    boolean isTimer() {
        return value == null && partition == TIMER;
    }

    /** An upper bound of the bytes this takes in a frame. */
    int frameBytes() {
        return 48 + (value == null ? 0 : value.length) + (key == null ? 0 : key.length);
    }

    /** One customer's arrivals in a batch, and what was stored for the customer when they were sent. */
    static final class Group {
        final String customer;
        final List<Arrival> arrivals = new ArrayList<>(2);
        /** The keyed state as it was read for the frame (see {@link Stored}), or null. */
        byte[] stored;

        Group(String customer) {
            this.customer = customer;
        }

        /** An upper bound of the bytes this takes in a frame. */
        long frameBytes() {
            long bytes = 24L + 3L * customer.length() + (stored == null ? 0 : stored.length);
            for (Arrival arrival : arrivals) {
                bytes += arrival.frameBytes();
            }
            return bytes;
        }

        byte[] customerBytes() {
            return customer.getBytes(StandardCharsets.UTF_8);
        }
    }
}
