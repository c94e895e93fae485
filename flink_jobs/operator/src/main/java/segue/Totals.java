package segue;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.metrics.Counter;
import org.apache.flink.metrics.MetricGroup;

/**
 * What was counted since the job first started. A Flink counter begins anew with each attempt of a task; the totals are part of the
 * operator's state, and so are exactly as often counted as the outputs are written. After a rescale a subtask holds a share of its
 * own: only the sum over the subtasks means something.
 */
final class Totals {
    /** Far more than there are, with ten for each of fifty models; a worker that makes up names would fill the metric registry. */
    private static final int MOST_NAMES = 1_000;

    private static final class Total {
        final Counter sinceStart;
        /** Written by the task's thread alone; read by the metric reporter's. */
        volatile long value;

        Total(Counter sinceStart) {
            this.sinceStart = sinceStart;
        }
    }

    private final Map<String, Total> totals = new TreeMap<>();
    private final MetricGroup group;

    Totals(MetricGroup group) {
        this.group = group;
    }

    void add(Map<String, Long> increases) throws IOException {
        for (Map.Entry<String, Long> increase : increases.entrySet()) {
            add(increase.getKey(), increase.getValue());
        }
    }

    void add(String name, long increase) throws IOException {
        if (increase < 0) {
            throw new IOException("the counter `" + name + "` was lowered by " + -increase);
        }
        Total total = total(name);
        total.sinceStart.inc(increase);
        total.value = total.value + increase;
    }

    /** Adds what an earlier attempt had counted, which is no news to the counters since the start. */
    void restore(Iterable<Tuple2<String, Long>> earlier) throws IOException {
        for (Tuple2<String, Long> share : earlier) {
            Total total = total(share.f0);
            total.value = total.value + share.f1;
        }
    }

    List<Tuple2<String, Long>> snapshot() {
        List<Tuple2<String, Long>> shares = new ArrayList<>(totals.size());
        totals.forEach((name, total) -> shares.add(Tuple2.of(name, total.value)));
        return shares;
    }

    private Total total(String name) throws IOException {
        Total total = totals.get(name);
        if (total == null) {
            if (totals.size() >= MOST_NAMES) {
                throw new IOException("more than " + MOST_NAMES + " counters: `" + name + "`");
            }
            Total created = new Total(group.counter(name));
            group.gauge("total_" + name, () -> created.value);
            totals.put(name, created);
            total = created;
        }
        return total;
    }
}
