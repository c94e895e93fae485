package segue;

import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.runtime.checkpoint.OperatorSubtaskState;
import org.apache.flink.runtime.state.StateBackend;
import org.apache.flink.streaming.api.watermark.Watermark;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import org.apache.flink.streaming.runtime.tasks.StreamTaskActionExecutor;
import org.apache.flink.streaming.runtime.tasks.mailbox.Mail;
import org.apache.flink.streaming.runtime.tasks.mailbox.MailboxExecutorImpl;
import org.apache.flink.streaming.runtime.tasks.mailbox.TaskMailboxImpl;
import org.apache.flink.streaming.runtime.watermarkstatus.WatermarkStatus;
import org.apache.flink.streaming.util.KeyedTwoInputStreamOperatorTestHarness;
import org.apache.flink.types.Row;
import org.junit.jupiter.api.function.Executable;
import org.msgpack.core.MessageBufferPacker;
import org.msgpack.core.MessagePack;

/** One subtask of the operator on Flink's harness, with a worker process (src/test/resources/worker.py) and a mailbox the test runs. */
final class OperatorBench implements AutoCloseable {
    static final int MAX_PARALLELISM = 16;
    private static final Duration PATIENCE = Duration.ofSeconds(60);

    final SegmentOperator operator;
    final KeyedTwoInputStreamOperatorTestHarness<String, Row, byte[], Row> harness;
    private final TaskMailboxImpl mailbox = new TaskMailboxImpl();
    private boolean failed;
    private long offset;
    private long checkpoint;

    OperatorBench(WorkerConfig config) throws Exception {
        this(config, 1, 0);
    }

    OperatorBench(WorkerConfig config, int parallelism, int subtask) throws Exception {
        operator = new SegmentOperator(config);
        harness = new KeyedTwoInputStreamOperatorTestHarness<>(
                operator, new CustomerKey(), null, Types.STRING, MAX_PARALLELISM, parallelism, subtask);
    }

    /** To be called before it is opened. */
    OperatorBench on(StateBackend backend) {
        harness.setStateBackend(backend);
        return this;
    }

    static WorkerConfig config() {
        try {
            String worker = Path.of(OperatorBench.class.getResource("/worker.py").toURI()).toString();
            return new WorkerConfig()
                    .setCommand(List.of(System.getProperty("segue.python", "python3"), "-S", worker))
                    .setRules(rules(1));
        } catch (URISyntaxException error) {
            throw new IllegalStateException(error);
        }
    }

    static byte[] rules(int version) {
        return bytes("{\"rules\": [{\"version\": 99}], \"version\": " + version + "}");
    }

    /** The same while a segment is warming. */
    static byte[] warming(int version) {
        return bytes("{\"version\": " + version + ", \"warming\": {\"s\": null}}");
    }

    /** A record of the control topic, as the source hands it on. */
    static byte[] control(Object... parts) throws IOException {
        try (MessageBufferPacker packer = MessagePack.newDefaultBufferPacker()) {
            packer.packArrayHeader(parts.length);
            for (Object part : parts) {
                if (part instanceof Integer number) {
                    packer.packInt(number);
                } else {
                    packer.packString((String) part);
                }
            }
            return RawBytes.control().deserialize(packer.toByteArray());
        }
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    OperatorBench open() throws Exception {
        return open(null);
    }

    OperatorBench open(OperatorSubtaskState state) throws Exception {
        harness.setup(SegmentOperator.outputType().createSerializer(harness.getExecutionConfig().getSerializerConfig()));
        operator.setMailboxExecutor(new MailboxExecutorImpl(mailbox, 0, StreamTaskActionExecutor.IMMEDIATE));
        harness.initializeState(state);
        harness.open();
        return this;
    }

    /** A record at time 0 with these orders to the worker. */
    void send(String customer, String value) throws Exception {
        send(customer, value == null ? null : bytes(value), value == null ? 0 : value.length(), null);
    }

    void send(String customer, byte[] value, int size, byte[] key) throws Exception {
        harness.processElement1(new StreamRecord<>(Row.of(customer, value, 0L, 0, offset++, size, key)));
    }

    void broadcast(byte[] rules) throws Exception {
        harness.processElement2(new StreamRecord<>(rules));
    }

    /** The time of the events; the rules input has gone idle, as in a replay. */
    void watermark(long time) throws Exception {
        harness.processWatermarkStatus2(WatermarkStatus.IDLE);
        harness.processWatermark1(new Watermark(time));
    }

    OperatorSubtaskState snapshot() throws Exception {
        harness.prepareSnapshotPreBarrier(++checkpoint);
        return harness.snapshot(checkpoint, 0);
    }

    int timers() {
        return harness.numEventTimeTimers();
    }

    /** Runs the task's mails until something holds; fails, never hangs. */
    void until(Callable<Boolean> condition) throws Exception {
        long end = System.nanoTime() + PATIENCE.toNanos();
        while (!condition.call()) {
            if (System.nanoTime() > end) {
                throw new AssertionError("waited in vain; the output so far: " + said());
            }
            Optional<Mail> mail = mailbox.tryTake(0);
            if (mail.isPresent()) {
                mail.get().run();
            } else {
                Thread.onSpinWait();
            }
        }
    }

    /** All outputs so far to a destination, as `key:value`. */
    List<String> said(int destination) {
        List<String> said = new ArrayList<>();
        for (Row row : harness.extractOutputValues()) {
            if ((int) row.getField(0) == destination) {
                byte[] key = (byte[]) row.getField(1);
                byte[] value = (byte[]) row.getField(2);
                said.add((key == null ? "" : new String(key, StandardCharsets.UTF_8) + ":") + new String(value, StandardCharsets.UTF_8));
            }
        }
        return said;
    }

    List<String> said() {
        return said(0);
    }

    /** Which frames there were, as `customer=arrivals,...`. */
    List<String> frames() {
        List<String> frames = said(4);
        frames.removeIf(text -> text.startsWith("rules:"));
        return frames;
    }

    /** What was emitted, in order: records to destination 0 by their value's first part, watermarks as @time. */
    List<String> order() {
        List<String> order = new ArrayList<>();
        for (Object element : harness.getOutput()) {
            if (element instanceof Watermark) {
                order.add("@" + ((Watermark) element).getTimestamp());
            } else if (element instanceof StreamRecord) {
                Row row = (Row) ((StreamRecord<?>) element).getValue();
                if ((int) row.getField(0) == 0) {
                    String value = new String((byte[]) row.getField(2), StandardCharsets.UTF_8);
                    order.add(value.substring(0, value.indexOf('|')));
                }
            }
        }
        return order;
    }

    ProcessHandle worker() {
        return ProcessHandle.of(operator.workerPid()).orElseThrow();
    }

    long total(String counter) {
        return operator.totals().getOrDefault(counter, 0L);
    }

    /** Expects the task to fail with all of these in its message. */
    void assertFails(Executable action, String... expected) {
        String message = assertThrows(WorkerFailure.class, action).getMessage();
        for (String part : expected) {
            assertTrue(message.contains(part), message);
        }
        failed = true;
    }

    @Override
    public void close() throws Exception {
        if (failed) {
            // As Flink does it: a task that failed is not finished, only closed.
            operator.close();
        } else {
            harness.close();
        }
    }
}
