package segue;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.apache.flink.runtime.checkpoint.OperatorSubtaskState;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Rule sets, and all the ways a worker can fail. */
@Timeout(120)
class WorkerLifeTest {
    @TempDir Path folder;

    private static List<String> ruleSays(OperatorBench bench) {
        List<String> says = bench.said(4);
        says.removeIf(text -> !text.startsWith("rules:"));
        return says;
    }

    // ---- rules ----

    @Test
    void theInitialRulesAreToldAndCountedOnce() throws Exception {
        OperatorSubtaskState state;
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open()) {
            assertEquals(List.of("rules:version 1 taken"), ruleSays(bench));
            assertEquals(1, bench.total("rules_seen"));
            state = bench.snapshot();
        }
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open(state)) {
            assertEquals(List.of(), ruleSays(bench));
            assertEquals(1, bench.total("rules_seen"));
        }
    }

    @Test
    void otherSubtasksSayHowTheyStandAndCountNothing() throws Exception {
        try (OperatorBench bench = new OperatorBench(OperatorBench.config(), 2, 1).open()) {
            bench.broadcast(OperatorBench.rules(2));
            bench.broadcast(OperatorBench.bytes("{\"version\": 3, \"bad\": true}"));
            assertEquals(List.of("rules:version 1 taken", "rules:version 2 taken", "rules:version 3 refused"), bench.said(4));
            assertEquals(0, bench.total("rules_seen"));
            assertEquals(0, bench.total("rules_refused"));
        }
    }

    @Test
    void aBroadcastRuleSetComesAfterWhatWasGatheredAndIsKept() throws Exception {
        OperatorSubtaskState state;
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open()) {
            bench.send("a", "x");
            bench.broadcast(OperatorBench.rules(2));
            assertEquals(List.of("rules:version 1 taken", "a=1", "rules:version 2 taken"), bench.said(4));
            // Again the same: a topic that is read from its start repeats itself.
            bench.broadcast(OperatorBench.rules(2));
            bench.broadcast(OperatorBench.rules(1));
            assertEquals(3, bench.said(4).size());
            assertEquals(1, bench.total("rules_ignored"));
            state = bench.snapshot();
        }
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open(state)) {
            bench.broadcast(OperatorBench.rules(2));
            assertEquals(List.of(), bench.said(4));
        }
        // A job built with newer rules than it was stopped with continues with those.
        try (OperatorBench bench = new OperatorBench(OperatorBench.config().setRules(OperatorBench.rules(3))).open(state)) {
            assertEquals(List.of("rules:version 3 taken"), ruleSays(bench));
        }
    }

    @Test
    void aRefusedRuleSetChangesNothing() throws Exception {
        OperatorSubtaskState state;
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open()) {
            bench.broadcast(OperatorBench.rules(2));
            bench.broadcast(OperatorBench.bytes("{\"version\": 3, \"bad\": true}"));
            assertEquals("rules:version 3 refused", ruleSays(bench).get(2));
            assertEquals(1, bench.total("rules_refused"));
            state = bench.snapshot();
        }
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open(state)) {
            bench.broadcast(OperatorBench.rules(2));
            assertEquals(0, bench.total("rules_ignored"));
            assertEquals(List.of(), ruleSays(bench));
        }
    }

    @Test
    void refusedInitialRulesFailTheTask() throws Exception {
        WorkerConfig config = OperatorBench.config().setRules(OperatorBench.bytes("{\"version\": 1, \"bad\": true}"));
        try (OperatorBench bench = new OperatorBench(config)) {
            bench.assertFails(bench::open, "initial rule set: line 1: it is bad");
        }
    }

    // ---- failures ----

    /** The task must fail with all of these in its message, and leave nothing behind. */
    private static void assertFails(WorkerConfig config, String orders, String... expected) throws Exception {
        ProcessHandle worker;
        try (OperatorBench bench = new OperatorBench(config).open()) {
            worker = bench.worker();
            bench.send("a", orders);
            bench.assertFails(bench::snapshot, expected);
        }
        assertFalse(worker.isAlive());
    }

    @Test
    void aDyingWorkerFailsTheTaskWithItsLastWords() throws Exception {
        assertFails(OperatorBench.config(), "die 3", "segue-worker-0", "exit code 3", "RuntimeError: told to die");
    }

    @Test
    void aDeathIsNoticedWhileTheTaskGathers() throws Exception {
        try (OperatorBench bench = new OperatorBench(OperatorBench.config().setLingerMillis(0)).open()) {
            bench.send("a", "die 3");
            bench.assertFails(() -> bench.until(() -> false), "exit code 3");
        }
    }

    @Test
    void anIdleWorkersDeathIsNoticed() throws Exception {
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open()) {
            bench.worker().destroyForcibly();
            bench.assertFails(() -> bench.until(() -> false), "exit code 137");
        }
    }

    @Test
    void aKilledWorkerFailsTheTaskThatWaitsForIt() throws Exception {
        Path gate = folder.resolve("gate");
        try (OperatorBench bench = new OperatorBench(OperatorBench.config().setLingerMillis(0)).open()) {
            bench.send("a", "wait " + gate);
            bench.until(() -> Files.exists(Path.of(gate + ".seen")));
            bench.worker().destroyForcibly();
            bench.assertFails(bench::snapshot, "exit code 137");
        }
    }

    @Test
    void aWorkerThatHangsIsKilledAtItsDeadline() throws Exception {
        assertFails(OperatorBench.config().setFrameDeadlineMillis(300), "hang", "did not answer within 300 ms and was killed");
    }

    @Test
    void aWorkerThatNeverGetsReadyIsKilled() throws Exception {
        WorkerConfig config = OperatorBench.config().setStartDeadlineMillis(300).setEnvironment(Map.of("WORKER_FROZEN", "1"));
        try (OperatorBench bench = new OperatorBench(config)) {
            bench.assertFails(bench::open, "did not answer within 300 ms");
        }
    }

    @Test
    void aCancelledTaskIsWokenAndItsWorkerGone() throws Exception {
        Path gate = folder.resolve("gate");
        try (OperatorBench bench = new OperatorBench(OperatorBench.config().setLingerMillis(0)).open()) {
            ProcessHandle worker = bench.worker();
            bench.send("a", "wait " + gate);
            bench.until(() -> Files.exists(Path.of(gate + ".seen")));
            bench.operator.getContainingTask().getCancelables().close();
            bench.assertFails(bench::snapshot, "was stopped");
            worker.onExit().get(60, TimeUnit.SECONDS);
        }
    }

    @Test
    void nonsenseOnThePipeIsNamed() throws Exception {
        assertFails(OperatorBench.config(), "babble", "does it print to its standard output?");
        assertFails(OperatorBench.config(), "x;wrong", "expected 1 results, found 2");
    }

    @Test
    void anAnswerOverTheFrameLimitFails() throws Exception {
        assertFails(OperatorBench.config().setMaxFrameBytes(4096), "grow 5000", "it announced an answer of 5");
    }

    @Test
    void aWorkerThatCannotBeStartedIsNamed() throws Exception {
        try (OperatorBench bench = new OperatorBench(OperatorBench.config().setCommand(List.of("/no/such/python")))) {
            bench.assertFails(bench::open, "could not be started", "/no/such/python");
        }
        try (OperatorBench bench = new OperatorBench(OperatorBench.config().setCommand(List.of("python3", "/no/such/worker.py")))) {
            bench.assertFails(bench::open, "exit code 2", "No such file");
        }
    }

    @Test
    void closingEndsTheWorkerAndItsThreads() throws Exception {
        ProcessHandle worker;
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open()) {
            worker = bench.worker();
            assertTrue(worker.isAlive());
        }
        assertFalse(worker.isAlive());
        List<String> left = Thread.getAllStackTraces().keySet().stream()
                .filter(Thread::isAlive)
                .map(Thread::getName)
                .filter(name -> name.startsWith("segue-worker"))
                .toList();
        assertEquals(List.of(), left);
    }

    @Test
    void theWorkerGetsItsPathAndEnvironment() throws Exception {
        WorkerConfig config = OperatorBench.config()
                .setPythonPath(List.of("/one", "/two"))
                .setEnvironment(Map.of("PYTHONPATH", "/inherited"))
                .setSettings("{\"mode\": \"replay\"}");
        assertFails(config, "die 3", "worker 0 of 1 in /one:/two:/inherited with {'mode': 'replay'}");
    }
}
