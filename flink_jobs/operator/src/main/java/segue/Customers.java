package segue;

import java.io.IOException;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.runtime.state.VoidNamespace;
import org.apache.flink.streaming.api.operators.InternalTimerService;
import org.apache.flink.streaming.api.operators.KeyContext;

/** What is stored of customers, and the one timer that each has at most. The layout of a state is that of {@link Stored}. */
final class Customers {
    private final KeyContext keys;
    private final ValueState<byte[]> states;
    private final InternalTimerService<VoidNamespace> timers;

    Customers(KeyContext keys, ValueState<byte[]> states, InternalTimerService<VoidNamespace> timers) {
        this.keys = keys;
        this.states = states;
        this.timers = timers;
    }

    byte[] stored(String customer) throws IOException {
        keys.setCurrentKey(customer);
        return states.value();
    }

    /**
     * Applies what the worker says of a customer: the new state, or null where it stays, and the next moment wanted.
     *
     * <p>Timers are lazy: only an earlier moment is armed anew, a later one waits for the armed timer to fire and find nothing due.
     */
    void apply(Arrival.Group group, byte[] state, long next) throws IOException {
        long before = Stored.timer(group.stored);
        long armed = before;
        for (Arrival arrival : group.arrivals) {
            if (arrival.isTimer() && arrival.time() == armed) {
                armed = Stored.NO_TIMER;
            }
        }
        boolean remove = state != null && !Stored.hasProfile(state);
        boolean profile = state == null ? Stored.hasProfile(group.stored) : !remove;
        keys.setCurrentKey(group.customer);
        if (next < armed || (remove && next != armed)) {
            if (armed != Stored.NO_TIMER) {
                timers.deleteEventTimeTimer(VoidNamespace.INSTANCE, armed);
            }
            if (next != Stored.NO_TIMER) {
                timers.registerEventTimeTimer(VoidNamespace.INSTANCE, next);
            }
            armed = next;
        }
        if (!profile && armed == Stored.NO_TIMER) {
            if (group.stored != null) {
                states.clear();
            }
        } else if (state != null) {
            Stored.setTimer(state, armed);
            states.update(state);
        } else if (armed != before) {
            states.update(Stored.withTimer(group.stored, armed));
        }
    }
}
