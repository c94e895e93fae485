package segue;

import java.util.Collection;
import java.util.LinkedHashMap;

/** Arrivals that wait for the worker, by customer, in order of each customer's first arrival. */
final class Batch {
    private final LinkedHashMap<String, Arrival.Group> groups = new LinkedHashMap<>();
    private final int maxArrivals;
    private final long maxBytes;
    private int arrivals;
    private long bytes;

    Batch(int maxArrivals, long maxBytes) {
        this.maxArrivals = maxArrivals;
        this.maxBytes = maxBytes;
    }

    void add(String customer, Arrival arrival) {
        groups.computeIfAbsent(customer, Arrival.Group::new).arrivals.add(arrival);
        arrivals++;
        bytes += arrival.frameBytes();
    }

    boolean isEmpty() {
        return arrivals == 0;
    }

    /** Whether no more should be added before this is sent: it has enough records, or large ones. */
    boolean isFull() {
        return arrivals >= maxArrivals || bytes >= maxBytes;
    }

    int arrivals() {
        return arrivals;
    }

    /** The groups, in order; a group that goes into a frame is to be taken out with {@link #removed}. */
    Collection<Arrival.Group> groups() {
        return groups.values();
    }

    /** Keeps count of a group that was taken out of {@link #groups}. */
    void removed(Arrival.Group group) {
        arrivals -= group.arrivals.size();
        for (Arrival arrival : group.arrivals) {
            bytes -= arrival.frameBytes();
        }
    }
}
