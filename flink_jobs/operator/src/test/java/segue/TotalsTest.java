package segue;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.util.AbstractMap;
import java.util.AbstractSet;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.core.memory.DataOutputSerializer;
import org.apache.flink.metrics.Counter;
import org.apache.flink.metrics.Gauge;
import org.apache.flink.metrics.SimpleCounter;
import org.apache.flink.metrics.groups.UnregisteredMetricsGroup;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.type.TypeReference;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** What is counted, and what somebody sees of it who reads while it is counted. */
@Timeout(120)
class TotalsTest {
    private static final List<Tuple2<String, Long>> NOTHING = List.of();

    /** Keeps what is registered, as a reporter does. */
    private static final class Registry extends UnregisteredMetricsGroup {
        private final Map<String, Gauge<?>> gauges = new ConcurrentHashMap<>();
        private final Map<String, Counter> counters = new ConcurrentHashMap<>();
        /** What a gauge says to who asks as soon as it is there. */
        private final Map<String, Object> first = new ConcurrentHashMap<>();

        @Override
        public Counter counter(String name) {
            return counters.computeIfAbsent(name, none -> new SimpleCounter());
        }

        @Override
        public <T, G extends Gauge<T>> G gauge(String name, G gauge) {
            first.put(name, gauge.getValue());
            gauges.put(name, gauge);
            return gauge;
        }

        String text() {
            return (String) gauges.get("totals").getValue();
        }

        Map<String, Long> read() throws IOException {
            return new ObjectMapper().readValue(text(), new TypeReference<TreeMap<String, Long>>() {});
        }
    }

    /** These entries, with something that happens before each and at the end, as it may in another thread. */
    private static Map<String, Long> interrupted(Map<String, Long> entries, Runnable between) {
        return new AbstractMap<>() {
            @Override
            public Set<Entry<String, Long>> entrySet() {
                return new AbstractSet<>() {
                    @Override
                    public int size() {
                        return entries.size();
                    }

                    @Override
                    public Iterator<Entry<String, Long>> iterator() {
                        Iterator<Entry<String, Long>> all = entries.entrySet().iterator();
                        return new Iterator<>() {
                            @Override
                            public boolean hasNext() {
                                between.run();
                                return all.hasNext();
                            }

                            @Override
                            public Entry<String, Long> next() {
                                return all.next();
                            }
                        };
                    }
                };
            }
        };
    }

    @Test
    void whatIsAddedAtOnceIsSeenAtOnce() throws Exception {
        Registry registry = new Registry();
        Totals totals = new Totals(registry, NOTHING);
        Set<String> seen = new LinkedHashSet<>();
        totals.add(interrupted(Map.of("received", 5L, "applied", 3L, "late", 2L), () -> seen.add(registry.text())));
        seen.add(registry.text());
        Map<String, Long> last = Map.of();
        for (String text : seen) {
            last = new ObjectMapper().readValue(text, new TypeReference<TreeMap<String, Long>>() {});
            assertEquals(last.getOrDefault("received", 0L), last.getOrDefault("applied", 0L) + last.getOrDefault("late", 0L), text);
        }
        assertEquals(Map.of("received", 5L, "applied", 3L, "late", 2L), last);
    }

    /** A demo once ended with one event that was received and nowhere else: the read had come between the two. */
    @Test
    void aReaderFindsEachRecordInOneOutcomeWhileTheTaskCounts() throws Exception {
        Registry registry = new Registry();
        Totals totals = new Totals(registry, NOTHING);
        ExecutorService reader = Executors.newSingleThreadExecutor();
        try {
            Future<Long> most = reader.submit(() -> {
                long received = 0;
                for (int i = 0; i < 20_000; i++) {
                    Map<String, Long> found = registry.read();
                    long outcomes = found.getOrDefault("applied", 0L) + found.getOrDefault("duplicate", 0L);
                    assertEquals(found.getOrDefault("received", 0L), outcomes, "" + found);
                    assertTrue(outcomes >= received, "it goes up");
                    received = outcomes;
                }
                return received;
            });
            long sent = 0;
            do {
                totals.add(Map.of("applied", 2L, "received", 3L, "duplicate", 1L));
                sent += 3;
            } while (!most.isDone());
            assertTrue(most.get() <= sent);
            assertEquals(sent, registry.read().get("received"));
        } finally {
            reader.shutdownNow();
        }
    }

    @Test
    void aTotalHasAMetricOfItsOwnAndACounterThatBeginsAnew() throws Exception {
        Registry registry = new Registry();
        Totals totals = new Totals(registry, List.of(Tuple2.of("applied", 40L)));
        totals.add(Map.of("applied", 2L, "score_age_10m_next-order", 1L));
        assertEquals(42L, registry.gauges.get("total_applied").getValue());
        assertEquals(2L, registry.counters.get("applied").getCount());
        assertEquals(1L, registry.gauges.get("total_score_age_10m_next-order").getValue());
    }

    /** After a rescale a share alone would be missing from the sum, or be most of it. */
    @Test
    void whatWasCountedEarlierIsThereFromTheFirstReadingOn() throws Exception {
        Registry registry = new Registry();
        Totals totals = new Totals(registry, List.of(Tuple2.of("received", 3L), Tuple2.of("applied", 1L), Tuple2.of("received", 4L)));
        Map<String, Long> expected = Map.of("received", 7L, "applied", 1L);
        assertEquals(expected, registry.read());
        assertEquals(registry.text(), registry.first.get("totals"));
        Map<String, Long> kept = new TreeMap<>();
        totals.snapshot().forEach(share -> assertNull(kept.put(share.f0, share.f1)));
        assertEquals(expected, kept);
    }

    @Test
    void nothingIsCountedOfWhatLowersACounter() throws Exception {
        Registry registry = new Registry();
        Totals totals = new Totals(registry, List.of(Tuple2.of("applied", 1L)));
        Map<String, Long> increases = new LinkedHashMap<>();
        increases.put("applied", 1L);
        increases.put("late", -1L);
        IOException refused = assertThrows(IOException.class, () -> totals.add(increases));
        assertEquals("the counter `late` was lowered by 1", refused.getMessage());
        assertEquals(Map.of("applied", 1L), registry.read());
        assertEquals(0, registry.counters.get("applied").getCount());
    }

    @Test
    void aNameThatFlinkOrJsonWouldChangeIsRefused() throws Exception {
        Totals totals = new Totals(new Registry(), NOTHING);
        for (String name : List.of("", "a.b", "a b", "a\"", "ä", "a\n")) {
            assertThrows(IOException.class, () -> totals.add(Map.of(name, 1L)), name);
        }
    }

    /** The text of the most and largest counters that there can be goes into Flink's dump, and another counter is refused. */
    @Test
    void theTextNeverGrowsLongerThanFlinkCanWrite() throws Exception {
        Registry registry = new Registry();
        Totals totals = new Totals(registry, NOTHING);
        String longName = "n".repeat(80);
        int most = (Totals.LONGEST_TEXT - 2) / (longName.length() + Totals.BESIDE_NAME);
        assertTrue(most > 600, "ten counters of each of fifty models, and a hundred more");
        for (int i = 0; i < most; i++) {
            totals.add(Map.of(String.format("%080d", i), Long.MAX_VALUE));
        }
        String full = registry.text();
        assertThrows(IOException.class, () -> totals.add(Map.of(longName, 1L)));
        assertEquals(full, registry.text());
        assertFalse(registry.gauges.containsKey("total_" + longName));
        new DataOutputSerializer(64).writeUTF(full);
        totals.add(Map.of(String.format("%080d", 0), 0L));
    }
}
