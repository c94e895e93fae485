package segue;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import org.apache.flink.streaming.api.watermark.Watermark;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import org.apache.flink.streaming.runtime.watermarkstatus.WatermarkStatus;
import org.apache.flink.streaming.util.OneInputStreamOperatorTestHarness;
import org.apache.flink.types.Row;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** What the end of a bounded input means for time: the events', and the rules'. */
@Timeout(120)
class EndOfTimeTest {
    private static OneInputStreamOperatorTestHarness<Row, Row> open() throws Exception {
        OneInputStreamOperatorTestHarness<Row, Row> harness = new OneInputStreamOperatorTestHarness<>(new LastWatermark(1, 10));
        harness.setup();
        harness.open();
        return harness;
    }

    private static void send(OneInputStreamOperatorTestHarness<Row, Row> harness, long... times) throws Exception {
        for (long time : times) {
            harness.processElement(new StreamRecord<>(Row.of("x", Instant.ofEpochMilli(time))));
        }
    }

    private static List<String> said(OneInputStreamOperatorTestHarness<Row, Row> harness) {
        List<String> said = new ArrayList<>();
        for (Object element : harness.getOutput()) {
            if (element instanceof Watermark) {
                said.add("@" + ((Watermark) element).getTimestamp());
            } else if (element instanceof WatermarkStatus) {
                said.add(((WatermarkStatus) element).isIdle() ? "idle" : "active");
            } else {
                said.add("record");
            }
        }
        return said;
    }

    @Test
    void theEndSaysHowFarTheEventsWentAndStandsAside() throws Exception {
        try (OneInputStreamOperatorTestHarness<Row, Row> harness = open()) {
            send(harness, 100);
            harness.processWatermark(new Watermark(90));
            send(harness, 200, 150);
            harness.processWatermark(Watermark.MAX_WATERMARK);
            assertEquals(List.of("record", "@90", "record", "record", "@190", "idle"), said(harness));
        }
    }

    @Test
    void whatWasSaidIsNotRepeated() throws Exception {
        try (OneInputStreamOperatorTestHarness<Row, Row> harness = open()) {
            send(harness, 100);
            harness.processWatermark(new Watermark(90));
            harness.processWatermark(Watermark.MAX_WATERMARK);
            assertEquals(List.of("record", "@90", "idle"), said(harness));
        }
    }

    @Test
    void withoutEventsThereIsNoTime() throws Exception {
        try (OneInputStreamOperatorTestHarness<Row, Row> harness = open()) {
            harness.processWatermark(Watermark.MAX_WATERMARK);
            assertEquals(List.of("idle"), said(harness));
        }
    }

    /** It once was: with the events idle, the clock jumped to the end of days and stayed there, and no timer fired any more. */
    @Test
    void theEndOfTheRulesIsNotTheEndOfTime() throws Exception {
        for (boolean idleBefore : new boolean[] {true, false}) {
            try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open()) {
                bench.send("a", "at 100");
                if (idleBefore) {
                    bench.harness.processWatermarkStatus1(WatermarkStatus.IDLE);
                }
                bench.harness.processWatermark2(new Watermark(Long.MAX_VALUE));
                bench.harness.processWatermarkStatus1(WatermarkStatus.IDLE);
                bench.snapshot();
                assertEquals(List.of("at 100"), bench.order());
                bench.harness.processWatermarkStatus1(WatermarkStatus.ACTIVE);
                bench.harness.processWatermark1(new Watermark(99));
                assertEquals(List.of("at 100", "@99"), bench.order());
                bench.harness.processWatermark1(new Watermark(100));
                assertEquals(List.of("at 100", "@99", "timer@100", "@100"), bench.order());
                bench.harness.processWatermark1(new Watermark(Long.MAX_VALUE));
                assertEquals("@" + Long.MAX_VALUE, bench.order().get(4));
            }
        }
    }
}
