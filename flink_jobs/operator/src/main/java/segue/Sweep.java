package segue;

import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;

/**
 * A walk through all customers, in small pieces between batches, so that those who do nothing come under new rules too.
 *
 * <p>Whom it meets is fixed at its start: who comes later comes under the new rules anyway. It holds no place in a checkpoint; after a
 * restore it begins again, and finds nothing to do for those it has seen before.
 */
final class Sweep {
    /** Customers that are looked at in one go: some milliseconds of the worker's time. */
    private static final int PIECE = 50;

    private Iterator<String> rest;
    private volatile long left;
    private long met;
    private int away;
    private long sentAt;

    void start(List<String> customers) {
        rest = customers.iterator();
        left = customers.size();
        met = customers.size();
        away = 0;
    }

    void stop() {
        rest = null;
        left = 0;
    }

    boolean isUnderWay() {
        return rest != null;
    }

    /** Customers that are still to be looked at. */
    long left() {
        return left;
    }

    /** How many customers it has met, once it is through. */
    long met() {
        return met;
    }

    /** The next customers to look at; none while some are, or once all have been. */
    List<String> next(long now) {
        List<String> piece = new ArrayList<>(PIECE);
        while (rest != null && away == 0 && rest.hasNext() && piece.size() < PIECE) {
            piece.add(rest.next());
        }
        away += piece.size();
        left -= piece.size();
        sentAt = now;
        return piece;
    }

    /** Whether the last looks that were sent have been answered with these groups. */
    boolean hasCome(List<Arrival.Group> answered) {
        int looks = 0;
        for (Arrival.Group group : answered) {
            for (Arrival arrival : group.arrivals) {
                looks += arrival.partition() == Arrival.RECONCILE && !group.customer.isEmpty() ? 1 : 0;
            }
        }
        // Looks of a walk that was begun anew meanwhile are in here too: then this one goes on a little early.
        away = Math.max(0, away - looks);
        return looks > 0 && rest != null && away == 0;
    }

    boolean isThrough() {
        return rest != null && away == 0 && !rest.hasNext();
    }

    /** When to go on: twice as long as the last piece took, so that at most a third of the worker's time is taken from the events. */
    long dueAfter(long now) {
        return now + Math.max(1, 2 * (now - sentAt));
    }
}
