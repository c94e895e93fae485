package segue;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.StringJoiner;
import java.util.regex.Pattern;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.metrics.Counter;
import org.apache.flink.metrics.Gauge;
import org.apache.flink.metrics.MetricGroup;

/**
 * What was counted since the job first started. A Flink counter begins anew with each attempt of a task; the totals are part of the
 * operator's state, and so are exactly as often counted as the outputs are written. After a rescale a subtask holds a share of its
 * own: only the sum over the subtasks means something.
 *
 * <p>Flink reads one metric after the other while the task goes on counting, so metrics of their own do not fit together. The gauge
 * `totals` has all of them as they were at one moment, as a JSON object: what was added at once is seen at once.
 */
final class Totals {
    /**
     * Flink writes the value of a gauge with two bytes for its length, and a longer one spoils all that comes behind it in the same dump.
     * It is enough for ten counters of each of fifty models with the longest names, and ends what a worker does to the metric registry that
     * makes up names.
     */
    static final int LONGEST_TEXT = 65_535;

    /** What a name costs in the text beside itself: two quotation marks, a colon, a comma, and a long. */
    static final int BESIDE_NAME = 4 + 19;

    /** As they are, these are both JSON and names to Flink, a byte for each letter. */
    private static final Pattern NAME = Pattern.compile("[A-Za-z0-9_-]+");

    /** The totals at one moment. Neither array is ever changed. */
    private record Reading(String[] names, long[] values) {
        Reading with(String name) {
            String[] more = Arrays.copyOf(names, names.length + 1);
            more[names.length] = name;
            return new Reading(more, Arrays.copyOf(values, names.length + 1));
        }

        String text() {
            StringJoiner text = new StringJoiner(",", "{", "}");
            for (int i = 0; i < names.length; i++) {
                text.add("\"" + names[i] + "\":" + values[i]);
            }
            return text.toString();
        }
    }

    private final MetricGroup group;
    private final Map<String, Integer> places = new HashMap<>();
    private final List<Counter> sinceStart = new ArrayList<>();
    private int longestText = "{}".length();

    /** Replaced by the task's thread alone; read by the metric reporter's. */
    private volatile Reading reading = new Reading(new String[0], new long[0]);

    /** @param earlier what earlier attempts had counted, which is no news to the counters since the start */
    Totals(MetricGroup group, Iterable<Tuple2<String, Long>> earlier) throws IOException {
        this.group = group;
        Map<String, Long> shares = new HashMap<>();
        for (Tuple2<String, Long> share : earlier) {
            shares.merge(share.f0, share.f1, Long::sum);
        }
        raise(shares);
        // Not before: without its share of what was counted earlier a subtask would be missing from the sum.
        group.gauge("totals", (Gauge<String>) () -> reading.text());
    }

    /** Adds all of it at once, or nothing. */
    void add(Map<String, Long> increases) throws IOException {
        for (Map.Entry<String, Long> increase : increases.entrySet()) {
            if (increase.getValue() < 0) {
                throw new IOException("the counter `" + increase.getKey() + "` was lowered by " + -increase.getValue());
            }
        }
        raise(increases);
        for (Map.Entry<String, Long> increase : increases.entrySet()) {
            sinceStart.get(places.get(increase.getKey())).inc(increase.getValue());
        }
    }

    List<Tuple2<String, Long>> snapshot() {
        Reading now = reading;
        List<Tuple2<String, Long>> shares = new ArrayList<>(now.names.length);
        for (int i = 0; i < now.names.length; i++) {
            shares.add(Tuple2.of(now.names[i], now.values[i]));
        }
        return shares;
    }

    private void raise(Map<String, Long> increases) throws IOException {
        for (String name : increases.keySet()) {
            if (!places.containsKey(name)) {
                begin(name);
            }
        }
        long[] values = reading.values.clone();
        for (Map.Entry<String, Long> increase : increases.entrySet()) {
            values[places.get(increase.getKey())] += increase.getValue();
        }
        reading = new Reading(reading.names, values);
    }

    /** Gives a new counter its place, at zero. */
    private void begin(String name) throws IOException {
        if (!NAME.matcher(name).matches()) {
            throw new IOException("`" + name + "` is no name for a counter: it must be of ASCII letters, digits, _ and -");
        }
        if (longestText + name.length() + BESIDE_NAME > LONGEST_TEXT) {
            throw new IOException("more counters than Flink's metrics take: `" + name + "` comes after " + places.size());
        }
        longestText += name.length() + BESIDE_NAME;
        int place = places.size();
        reading = reading.with(name);
        places.put(name, place);
        sinceStart.add(group.counter(name));
        group.gauge("total_" + name, (Gauge<Long>) () -> reading.values[place]);
    }
}
