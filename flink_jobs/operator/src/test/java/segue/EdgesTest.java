package segue;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.time.Instant;
import java.time.InstantSource;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalLong;
import org.apache.flink.api.common.eventtime.Watermark;
import org.apache.flink.api.common.eventtime.WatermarkGenerator;
import org.apache.flink.api.common.eventtime.WatermarkOutput;
import org.apache.flink.api.common.functions.util.ListCollector;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.flink.types.Row;
import org.junit.jupiter.api.Test;

/** The parts around the operator. */
class EdgesTest {
    @Test
    void outputsGoToTheirTopics() {
        TopicRouter router = new TopicRouter(List.of("changes", "customers"));
        ProducerRecord<byte[], byte[]> record = router.serialize(Row.of(1, new byte[] {1}, new byte[] {2}), null, null);
        assertEquals("customers", record.topic());
        assertArrayEquals(new byte[] {1}, record.key());
        assertArrayEquals(new byte[] {2}, record.value());
        ProducerRecord<byte[], byte[]> tombstone = router.serialize(Row.of(0, null, null), null, null);
        assertNull(tombstone.key());
        assertNull(tombstone.value());
        String complaint = assertThrows(
                IllegalArgumentException.class, () -> router.serialize(Row.of(2, null, null), null, null)).getMessage();
        assertTrue(complaint.contains("destination 2") && complaint.contains("changes, customers"), complaint);
    }

    /** The job knows a version that it published by its signature, whoever else writes to the topic. */
    @Test
    void versionsAreKnownByTheJobThatWroteThem() {
        TopicRouter router = new TopicRouter(List.of("changes", "models")).sign("models", "one");
        Row version = Row.of(1, new byte[] {1}, new byte[] {2});
        assertArrayEquals(ModelRecord.element(null, new byte[] {2}, true), comeBack(router, version, "one"));
        assertArrayEquals(ModelRecord.element(null, new byte[] {2}, false), comeBack(router, version, "two"));
        TopicRouter unsigned = new TopicRouter(List.of("changes", "models"));
        assertArrayEquals(ModelRecord.element(null, new byte[] {2}, false), comeBack(unsigned, version, "one"));
        Row deleted = Row.of(1, new byte[] {1}, null);
        assertArrayEquals(ModelRecord.element(new byte[] {1}, null, false), comeBack(router, deleted, "one"));
        Row change = Row.of(0, new byte[] {1}, new byte[] {2});
        assertEquals(0, router.serialize(change, null, null).headers().toArray().length);
    }

    /** What the source of a job makes of an output of the router. */
    private static byte[] comeBack(TopicRouter router, Row output, String job) {
        ProducerRecord<byte[], byte[]> sent = router.serialize(output, null, null);
        ConsumerRecord<byte[], byte[]> read = new ConsumerRecord<>(sent.topic(), 0, 0L, sent.key(), sent.value());
        sent.headers().forEach(read.headers()::add);
        List<byte[]> found = new ArrayList<>();
        new ModelRecords(job).deserialize(read, new ListCollector<>(found));
        assertEquals(1, found.size());
        return found.get(0);
    }

    private static List<String> emitted(RulesClock clock, InstantSource time, int times) {
        List<String> emitted = new ArrayList<>();
        WatermarkOutput output = new WatermarkOutput() {
            @Override
            public void emitWatermark(Watermark watermark) {
                emitted.add("@" + watermark.getTimestamp());
            }

            @Override
            public void markIdle() {
                emitted.add("idle");
            }

            @Override
            public void markActive() {
                emitted.add("active");
            }
        };
        WatermarkGenerator<byte[]> generator = clock.generator(time);
        for (int i = 0; i < times; i++) {
            generator.onEvent(new byte[0], 12345, output);
            generator.onPeriodicEmit(output);
        }
        return emitted;
    }

    @Test
    void theRulesClockFollowsTheWallOrStandsAside() {
        InstantSource time = InstantSource.fixed(Instant.ofEpochMilli(10_000));
        assertEquals(List.of("@9300"), emitted(RulesClock.live(700), time, 1));
        assertEquals(List.of("idle", "idle"), emitted(RulesClock.replay(), time, 2));
    }

    @Test
    void ruleSetsAreComparedByVersion() {
        assertEquals(OptionalLong.of(15), Rules.code(OperatorBench.bytes("{\"a\":{\"version\":1},\"version\":7}")));
        for (String none : new String[] {"", "[]", "{}", "{\"version\":\"7\"}", "{\"version\":7.5}", "{\"a\"", "\u0000", "{\"version\":99999999999999999999}"}) {
            assertEquals(OptionalLong.empty(), Rules.code(OperatorBench.bytes(none)), none);
        }
        assertTrue(Rules.isOlder(OperatorBench.rules(1), OperatorBench.rules(2)));
        assertEquals(false, Rules.isOlder(OperatorBench.rules(2), OperatorBench.rules(2)));
        assertEquals(false, Rules.isOlder(OperatorBench.bytes("{}"), OperatorBench.rules(2)));
    }

    /** Lengths that promise more than the frame holds must not be believed: a byte of garbage could ask for two gigabytes. */
    @Test
    void lengthsInAnAnswerAreBounded() {
        byte[][] answers = {
            {(byte) 0x94, 2, (byte) 0xdd, 0x7f, (byte) 0xff, (byte) 0xff, (byte) 0xff},
            {(byte) 0x94, 2, (byte) 0x91, (byte) 0x92, (byte) 0xc6, 0x7f, (byte) 0xff, (byte) 0xff, (byte) 0xff},
            {(byte) 0x94, 2, (byte) 0x90, (byte) 0xdd, 0x7f, (byte) 0xff, (byte) 0xff, (byte) 0xff},
            {(byte) 0x94, 2, (byte) 0x90, (byte) 0x90, (byte) 0xdf, 0x7f, (byte) 0xff, (byte) 0xff, (byte) 0xff},
            {(byte) 0x94, 1, (byte) 0x90, (byte) 0x90, (byte) 0x80},
            {(byte) 0x94, 2, (byte) 0x90, (byte) 0x90, (byte) 0x80, 0},
            {(byte) 0x93, 2, (byte) 0x90, (byte) 0x90},
        };
        for (byte[] answer : answers) {
            int groups = answer.length > 2 && answer[2] == (byte) 0x91 ? 1 : 0;
            assertThrows(IOException.class, () -> Frames.batchReply(answer, groups));
        }
    }
}
