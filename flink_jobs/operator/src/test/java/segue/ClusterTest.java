package segue;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import org.apache.flink.api.common.eventtime.Watermark;
import org.apache.flink.api.common.eventtime.WatermarkGenerator;
import org.apache.flink.api.common.eventtime.WatermarkOutput;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.MapFunction;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.connector.source.util.ratelimit.RateLimiterStrategy;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.datagen.source.DataGeneratorSource;
import org.apache.flink.connector.datagen.source.GeneratorFunction;
import org.apache.flink.runtime.testutils.MiniClusterResourceConfiguration;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.datastream.KeyedStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.test.junit5.MiniClusterExtension;
import org.apache.flink.types.Row;
import org.apache.flink.util.CloseableIterator;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.io.TempDir;

/** The operator in a real cluster: real mailboxes, real checkpoints, two subtasks, and a worker that dies half way. */
@Timeout(300)
class ClusterTest {
    private static final int RECORDS = 20_000;
    private static final int CUSTOMERS = 300;

    @RegisterExtension
    static final MiniClusterExtension CLUSTER = new MiniClusterExtension(
            new MiniClusterResourceConfiguration.Builder().setNumberTaskManagers(2).setNumberSlotsPerTaskManager(1).build());

    @TempDir Path folder;

    private static final class EachRecord implements WatermarkGenerator<Long> {
        @Override
        public void onEvent(Long number, long time, WatermarkOutput output) {
            output.emitWatermark(new Watermark(time));
        }

        @Override
        public void onPeriodicEmit(WatermarkOutput output) {
            // All was said with the record.
        }
    }

    @Test
    void eachRecordCountsOnceThoughAWorkerDies() throws Exception {
        Path died = folder.resolve("died");
        Configuration settings = new Configuration();
        settings.setString("restart-strategy.type", "fixed-delay");
        settings.setString("restart-strategy.fixed-delay.attempts", "3");
        settings.setString("restart-strategy.fixed-delay.delay", "10 ms");
        settings.setString("execution.checkpointing.interval", "50 ms");
        settings.setString("pipeline.object-reuse", "true");
        settings.setString("execution.buffer-timeout.interval", "5 ms");
        StreamExecutionEnvironment environment = StreamExecutionEnvironment.getExecutionEnvironment(settings);
        environment.setParallelism(2);

        String dies = "once " + died;
        // A tenth between any two checkpoints: so there are some to go back to when the worker dies.
        DataGeneratorSource<Long> numbers = new DataGeneratorSource<>(
                (GeneratorFunction<Long, Long>) number -> number,
                RECORDS,
                RateLimiterStrategy.perCheckpoint(RECORDS / 10),
                Types.LONG);
        // Time goes on with each record, not now and then: a customer's next record, 300 later, would put off a timer that had to wait.
        WatermarkStrategy<Long> time = WatermarkStrategy.<Long>forGenerator(none -> new EachRecord())
                .withTimestampAssigner((number, none) -> number);
        KeyedStream<Row, String> records = environment
                .fromSource(numbers, time, "numbers")
                .map((MapFunction<Long, Row>) number -> {
                    byte[] value = number == RECORDS / 2 ? OperatorBench.bytes(dies) : OperatorBench.bytes("at " + (number + 100));
                    return Row.of("c" + number % CUSTOMERS, value, number, 0, number, value.length, null);
                })
                .returns(ReadRecord.outputType())
                .keyBy(new CustomerKey(), Types.STRING);
        DataStream<byte[]> rules = environment
                .fromData(new byte[][] {OperatorBench.rules(1), OperatorBench.rules(2)})
                .assignTimestampsAndWatermarks(RulesClock.replay())
                .setParallelism(1);
        DataStream<Row> outputs = records
                .connect(rules.broadcast())
                .transform("segments", SegmentOperator.outputType(), new SegmentOperator(OperatorBench.config().setMaxBatch(50)));

        Map<String, Set<Integer>> seen = new HashMap<>();
        Map<String, Integer> events = new HashMap<>();
        int timers = 0;
        try (CloseableIterator<Row> rows = outputs.executeAndCollect("segments")) {
            while (rows.hasNext()) {
                Row row = rows.next();
                if ((int) row.getField(0) == 0) {
                    String customer = new String((byte[]) row.getField(1), StandardCharsets.UTF_8);
                    String[] said = new String((byte[]) row.getField(2), StandardCharsets.UTF_8).split("\\|");
                    assertTrue(seen.computeIfAbsent(customer, c -> new HashSet<>()).add(Integer.valueOf(said[1])), "twice: " + customer);
                    if (said[0].startsWith("timer")) {
                        timers++;
                    } else {
                        events.merge(customer, 1, Integer::sum);
                    }
                }
            }
        }
        assertTrue(Files.exists(died));
        assertEquals(CUSTOMERS, seen.size());
        assertEquals(RECORDS, events.values().stream().mapToInt(Integer::intValue).sum());
        assertTrue(timers > 0);
        // The worker numbers what it sees of a customer: no number is missing, so no state was lost on the way.
        seen.forEach((customer, positions) -> assertEquals(positions.size(), Collections.max(positions), customer));
    }
}
