package segue;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;

/** The layout of a customer's keyed state: 8 bytes, big-endian, the time of the armed timer; then the worker's bytes, never read here. */
final class Stored {
    static final int PREFIX = 8;

    /** No timer is armed, or none is wanted. */
    static final long NO_TIMER = Long.MAX_VALUE;

    private static final VarHandle LONG = MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.BIG_ENDIAN);

    private Stored() {}

    static long timer(byte[] stored) {
        return stored == null ? NO_TIMER : (long) LONG.get(stored, 0);
    }

    /** Whether the worker keeps anything; a timer alone is kept without a profile. */
    static boolean hasProfile(byte[] stored) {
        return stored != null && stored.length > PREFIX;
    }

    static void setTimer(byte[] stored, long time) {
        LONG.set(stored, 0, time);
    }

    /** The same profile with another timer. A new array: a state backend may still hold the old one. */
    static byte[] withTimer(byte[] stored, long time) {
        byte[] copy = stored == null ? new byte[PREFIX] : stored.clone();
        setTimer(copy, time);
        return copy;
    }
}
