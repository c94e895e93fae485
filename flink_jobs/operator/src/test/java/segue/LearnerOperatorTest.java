package segue;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;
import org.apache.flink.runtime.checkpoint.OperatorSubtaskState;
import org.apache.flink.streaming.api.watermark.Watermark;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import org.apache.flink.streaming.runtime.tasks.StreamTaskActionExecutor;
import org.apache.flink.streaming.runtime.tasks.mailbox.Mail;
import org.apache.flink.streaming.runtime.tasks.mailbox.MailboxExecutorImpl;
import org.apache.flink.streaming.runtime.tasks.mailbox.TaskMailboxImpl;
import org.apache.flink.streaming.util.OneInputStreamOperatorTestHarness;
import org.apache.flink.types.Row;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;

/** Examples in frames, time, and state that is handed back. */
@Timeout(120)
class LearnerOperatorTest {
    @TempDir Path folder;

    /** The operator on Flink's harness, with a worker process and a mailbox that the test runs. */
    private static final class Bench implements AutoCloseable {
        private static final Duration PATIENCE = Duration.ofSeconds(60);

        final LearnerOperator operator;
        final OneInputStreamOperatorTestHarness<Row, Row> harness;
        private final TaskMailboxImpl mailbox = new TaskMailboxImpl();
        private boolean failed;
        private long checkpoint;

        Bench(WorkerConfig config) throws Exception {
            operator = new LearnerOperator(config);
            harness = new OneInputStreamOperatorTestHarness<>(operator);
        }

        Bench open(OperatorSubtaskState state) throws Exception {
            harness.setup(WorkerOperator.outputType().createSerializer(harness.getExecutionConfig().getSerializerConfig()));
            operator.setMailboxExecutor(new MailboxExecutorImpl(mailbox, 0, StreamTaskActionExecutor.IMMEDIATE));
            harness.initializeState(state);
            harness.open();
            return this;
        }

        void send(String key, byte[] value) throws Exception {
            byte[] kind = key == null ? null : OperatorBench.bytes(key);
            harness.processElement(new StreamRecord<>(Row.of(ToLearner.DESTINATION, kind, value)));
        }

        void example(String orders) throws Exception {
            send(null, OperatorBench.bytes(orders));
        }

        OperatorSubtaskState snapshot() throws Exception {
            harness.prepareSnapshotPreBarrier(++checkpoint);
            return harness.snapshot(checkpoint, 0);
        }

        /** Rows as `key:value` (key - for none) and watermarks as @time, in the order in which they came out. */
        List<String> said() {
            List<String> said = new ArrayList<>();
            for (Object element : harness.getOutput()) {
                if (element instanceof Watermark mark) {
                    said.add("@" + mark.getTimestamp());
                } else if (element instanceof StreamRecord<?> record) {
                    Row row = (Row) record.getValue();
                    byte[] key = (byte[]) row.getField(1);
                    String value = new String((byte[]) row.getField(2), StandardCharsets.UTF_8);
                    said.add((key == null ? "-" : new String(key, StandardCharsets.UTF_8)) + ":" + value);
                }
            }
            return said;
        }

        void until(Callable<Boolean> condition) throws Exception {
            long end = System.nanoTime() + PATIENCE.toNanos();
            while (!condition.call()) {
                assertTrue(System.nanoTime() < end, () -> "waited in vain; the output so far: " + said());
                Optional<Mail> mail = mailbox.tryTake(0);
                if (mail.isPresent()) {
                    mail.get().run();
                } else {
                    Thread.onSpinWait();
                }
            }
        }

        ProcessHandle worker() {
            return ProcessHandle.of(operator.workerPid()).orElseThrow();
        }

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
                operator.close();
            } else {
                harness.close();
            }
        }
    }

    private static Bench open(WorkerConfig config) throws Exception {
        return new Bench(config).open(null);
    }

    @Test
    void examplesAreOfferedBeforeTheWatermarkIsSaidAndLearntBeforeItGoesOn() throws Exception {
        try (Bench bench = open(OperatorBench.config())) {
            bench.example("one");
            bench.example("two");
            bench.harness.processWatermark(new Watermark(100));
            assertEquals(List.of("-:examples=2", "learnt:one,two@100|2", "@100"), bench.said());
            assertEquals(Map.of("learnt", 2L, "offered", 2L), bench.operator.totals());
        }
    }

    @Test
    void aWorkerThatIsBehindIsAskedAgainBeforeTheWatermarkGoesOn() throws Exception {
        try (Bench bench = open(OperatorBench.config())) {
            bench.example("slow 2");
            bench.harness.processWatermark(new Watermark(7));
            assertEquals(List.of("-:examples=1", "behind:1", "behind:0", "learnt:slow 2@7|1", "@7"), bench.said());
        }
    }

    @Test
    void theEndOfABoundedInputIsNoTime() throws Exception {
        try (Bench bench = open(OperatorBench.config())) {
            bench.example("one");
            bench.harness.processWatermark(new Watermark(Long.MAX_VALUE));
            assertEquals(List.of("-:examples=1", "@" + Long.MAX_VALUE), bench.said());
        }
    }

    @Test
    void whatWasLearntIsHandedBackInPiecesAndLearntOnce() throws Exception {
        WorkerConfig config = OperatorBench.config().setEnvironment(Map.of("WORKER_PIECE", "4"));
        OperatorSubtaskState state;
        try (Bench bench = open(config)) {
            bench.example("one");
            bench.harness.processWatermark(new Watermark(1));
            bench.example("two");
            state = bench.snapshot();
            // What comes after the checkpoint comes again after the failure.
            bench.example("three");
            bench.harness.processWatermark(new Watermark(2));
            assertEquals("learnt:two,three@2|3", bench.said().get(5));
        }
        try (Bench bench = new Bench(config).open(state)) {
            bench.example("three");
            bench.harness.processWatermark(new Watermark(2));
            assertEquals(List.of("restored:True", "-:examples=1", "learnt:two,three@2|3", "@2"), bench.said());
            assertEquals(3, bench.operator.totals().get("learnt"));
        }
    }

    @Test
    void everythingOnItsWayIsWorkedOffBeforeACheckpoint() throws Exception {
        Path gate = folder.resolve("gate");
        try (Bench bench = open(OperatorBench.config().setMaxBatch(1))) {
            bench.example("wait " + gate);
            bench.until(() -> Files.exists(Path.of(gate + ".seen")));
            bench.example("two");
            assertEquals(List.of(), bench.said());
            Files.createFile(gate);
            bench.snapshot();
            assertEquals(List.of("-:examples=1", "-:examples=1"), bench.said());
        }
    }

    /** The frames on their way are bounded: a third one waits for the answer to the first, and with it the task and all before it. */
    @Test
    void aBusyWorkerHoldsBackTheTask() throws Exception {
        Path gate = folder.resolve("gate");
        try (Bench bench = open(OperatorBench.config().setMaxBatch(1))) {
            bench.example("wait " + gate);
            bench.until(() -> Files.exists(Path.of(gate + ".seen")));
            bench.example("two");
            Thread sender = new Thread(() -> {
                try {
                    bench.example("three");
                } catch (Exception error) {
                    throw new IllegalStateException(error);
                }
            });
            sender.start();
            while (sender.getState() != Thread.State.WAITING) {
                Thread.onSpinWait();
            }
            assertEquals(List.of(), bench.said());
            Files.createFile(gate);
            sender.join(TimeUnit.SECONDS.toMillis(60));
            assertEquals(List.of("-:examples=1"), bench.said());
        }
    }

    @Test
    void manyBytesMakeAFullBatchToo() throws Exception {
        try (Bench bench = open(OperatorBench.config().setMaxFrameBytes(4096))) {
            bench.example("x".repeat(600));
            bench.example("y".repeat(600));
            bench.until(() -> bench.said().equals(List.of("-:examples=2")));
        }
    }

    @Test
    void definitionsAndVersionsKeepTheirPlaceAmongExamples() throws Exception {
        try (Bench bench = open(OperatorBench.config())) {
            bench.example("one");
            bench.send("definitions", OperatorBench.rules(3));
            bench.example("two");
            bench.send("model", OperatorBench.bytes("?#tree 7"));
            assertEquals(
                    List.of("-:examples=1", "rules:version 3 taken", "-:examples=1", "model:tree 7|now"), bench.said());
            bench.assertFails(
                    () -> bench.send("definitions", OperatorBench.bytes("{\"version\": 4, \"bad\": true}")), "refused", "line 1");
        }
    }

    @Test
    void aDyingWorkerFailsTheTaskWithItsLastWords() throws Exception {
        ProcessHandle worker;
        try (Bench bench = open(OperatorBench.config())) {
            worker = bench.worker();
            bench.example("die 3");
            bench.assertFails(bench::snapshot, "segue-learner-0", "exit code 3", "RuntimeError: told to die");
        }
        assertFalse(worker.isAlive());
    }

    @Test
    void anIdleWorkersDeathIsNoticed() throws Exception {
        try (Bench bench = open(OperatorBench.config())) {
            bench.worker().destroyForcibly();
            bench.assertFails(() -> bench.until(() -> false), "exit code 137");
        }
    }

    @Test
    void aWorkerThatHangsIsKilledAtItsDeadline() throws Exception {
        try (Bench bench = open(OperatorBench.config().setFrameDeadlineMillis(300))) {
            bench.example("hang");
            bench.assertFails(() -> bench.harness.processWatermark(new Watermark(1)), "did not answer within 300 ms");
        }
    }
}
