package segue;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.apache.flink.runtime.checkpoint.OperatorSubtaskState;
import org.apache.flink.streaming.util.AbstractStreamOperatorTestHarness;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Rules that change while the job runs: stages, control records, and the walk through all customers. */
@Timeout(120)
class RuleChangeTest {
    @Test
    void versionsAreOrderedByStageToo() {
        byte[][] ordered = {OperatorBench.rules(1), OperatorBench.warming(2), OperatorBench.rules(2), OperatorBench.warming(3)};
        for (int i = 0; i < ordered.length; i++) {
            for (int j = 0; j < ordered.length; j++) {
                assertEquals(i < j, Rules.isOlder(ordered[i], ordered[j]), i + " " + j);
                assertEquals(i == 1 && j == 2, Rules.isLiveOf(ordered[i], ordered[j]), i + " " + j);
            }
        }
        assertEquals(7, Rules.code(OperatorBench.bytes("{\"warming\": {}, \"x\": [{\"version\": 1}], \"version\": 3}")).orElseThrow());
        assertEquals(6, Rules.code(OperatorBench.bytes(
                "{\"warming\": {\"a\": \"{\", \"b\": {\"c\": 1}, \"version\": 9}, \"version\": 3}")).orElseThrow());
        assertTrue(Rules.code(OperatorBench.bytes("{\"warming\": {\"a\"")).isEmpty());
    }

    @Test
    void theLiveRuleSetWaitsForTheEndOfTheHandover() throws Exception {
        OperatorSubtaskState state;
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open()) {
            bench.send("a", "x");
            bench.broadcast(OperatorBench.warming(2));
            bench.broadcast(OperatorBench.rules(2));
            bench.broadcast(OperatorBench.control(1, 2, "a", 0, 5, "shadow"));
            state = bench.snapshot();
            assertEquals(List.of("rules:version 1 taken", "rules:version 2 taken"), rulesSaid(bench));
            assertEquals(List.of("a:handover@-1|1,2w"), bench.said(5));
        }
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open(state)) {
            bench.broadcast(OperatorBench.control(2, 1, 1));
            assertEquals(List.of(), rulesSaid(bench));
            bench.broadcast(OperatorBench.control(2, 2, 1));
            assertEquals(List.of("rules:version 2 taken"), rulesSaid(bench));
            // Published once more, in other bytes: that changes nothing.
            bench.broadcast(OperatorBench.bytes("{\"version\": 2}"));
            state = bench.snapshot();
            bench.broadcast(OperatorBench.warming(2));
            assertEquals(1, bench.total("rules_ignored"));
        }
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open(state)) {
            bench.broadcast(OperatorBench.control(3, "r", "a", "s"));
            bench.snapshot();
            // The worker was told of both: customers who were not seen since are brought from the one to the other.
            assertTrue(bench.said(5).contains("a:request@-1|2w,2"), bench.said(5).toString());
        }
    }

    @Test
    void aJobBuiltWithTheLiveRuleSetWaitsForTheHandoverAsWell() throws Exception {
        OperatorSubtaskState state;
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open()) {
            bench.broadcast(OperatorBench.warming(2));
            state = bench.snapshot();
        }
        try (OperatorBench bench = new OperatorBench(OperatorBench.config().setRules(OperatorBench.rules(2))).open(state)) {
            assertEquals(List.of(), rulesSaid(bench));
            bench.broadcast(OperatorBench.control(2, 2, 0));
            assertEquals(List.of("rules:version 2 taken"), rulesSaid(bench));
        }
    }

    @Test
    void controlRecordsReachTheSubtaskThatHasTheCustomer() throws Exception {
        List<String> customers = new ArrayList<>();
        Set<String> reached = new TreeSet<>();
        for (int i = 0; i < 20; i++) {
            customers.add("c" + i);
        }
        for (int subtask = 0; subtask < 2; subtask++) {
            try (OperatorBench bench = new OperatorBench(OperatorBench.config(), 2, subtask).open()) {
                for (String customer : customers) {
                    bench.broadcast(OperatorBench.control(3, "r", customer, "s"));
                }
                bench.broadcast(OperatorBench.control(2, 7, 20));
                bench.snapshot();
                List<String> said = bench.said(5);
                assertTrue(said.size() > 3 && said.size() < 20, said.toString());
                assertEquals(":handover@-1|1", said.remove(said.size() - 1));
                for (String word : said) {
                    assertTrue(reached.add(word), word + " reached both");
                }
                assertEquals(List.of("rules:version 1 taken"), rulesSaid(bench), "each subtask speaks for itself");
            }
        }
        assertEquals(20, reached.size());
    }

    @Test
    void whatIsNoControlRecordIsDroppedAndCounted() throws Exception {
        byte[][] wrong = {
            OperatorBench.control(), OperatorBench.control(1, 2), OperatorBench.control(9, 1, "a"), OperatorBench.control(1, "x", "a"),
            OperatorBench.control(1, 2, ""), OperatorBench.control(1, 2, " a"), OperatorBench.control(3, "r", 7),
            OperatorBench.control(2, "x", 1), RawBytes.control().deserialize(OperatorBench.rules(5)), RawBytes.control().deserialize(new byte[0]),
            RawBytes.control().deserialize(new byte[] {(byte) 0xdd, 127, -1, -1, -1}), RawBytes.control().deserialize(new byte[20_000]),
        };
        for (int subtask = 0; subtask < 2; subtask++) {
            try (OperatorBench bench = new OperatorBench(OperatorBench.config().setMaxFrameBytes(20_000), 2, subtask).open()) {
                for (byte[] each : wrong) {
                    bench.broadcast(each);
                }
                bench.snapshot();
                assertEquals(subtask == 0 ? wrong.length : 0, bench.total("control_dropped"));
                assertEquals(List.of(), bench.said(5));
                assertEquals(List.of("rules:version 1 taken"), rulesSaid(bench));
            }
        }
    }

    @Test
    void allCustomersAreLookedAtOnceTheRulesAreLive() throws Exception {
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open()) {
            fill(bench, 120);
            bench.broadcast(OperatorBench.rules(2));
            Set<String> seen = sweepOf(bench, 120);
            assertEquals(120, seen.size());
            assertEquals(":look@120|1,2", bench.said(5).get(120));
            assertEquals(120, bench.harness.numKeyedStateEntries(), "nobody is made up or forgotten");
            bench.snapshot();
            assertEquals(121, bench.said(5).size());
        }
    }

    @Test
    void eventsAndTimeGoOnBetweenThePieces() throws Exception {
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open()) {
            fill(bench, 120);
            bench.broadcast(OperatorBench.rules(2));
            bench.harness.setProcessingTime(10);
            bench.watermark(5);
            int looked = bench.said(5).size();
            assertTrue(looked > 0 && looked < 120, "looked at " + looked);
            bench.send("c3", "forget");
            bench.send("new", "x");
            bench.watermark(6);
            sweepOf(bench, 120);
            assertEquals(120, bench.harness.numKeyedStateEntries());
        }
    }

    @Test
    void aWalkThatWasInterruptedBeginsAgain() throws Exception {
        OperatorSubtaskState state;
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open()) {
            fill(bench, 120);
            bench.broadcast(OperatorBench.rules(2));
            bench.harness.setProcessingTime(10);
            state = bench.snapshot();
            assertFalse(bench.said(5).stream().anyMatch(word -> word.startsWith(":look")));
        }
        Set<String> seen = new TreeSet<>();
        for (int i = 0; i < 2; i++) {
            OperatorSubtaskState share = AbstractStreamOperatorTestHarness.repartitionOperatorState(
                    state, OperatorBench.MAX_PARALLELISM, 1, 2, i);
            try (OperatorBench bench = new OperatorBench(OperatorBench.config(), 2, i).open(share)) {
                int mine = bench.harness.numKeyedStateEntries();
                assertTrue(mine > 10, "customers: " + mine);
                seen.addAll(sweepOf(bench, mine));
                state = i == 0 ? state : bench.snapshot();
            }
        }
        assertEquals(120, seen.size());
        try (OperatorBench bench = new OperatorBench(OperatorBench.config(), 2, 1).open(state)) {
            bench.harness.setProcessingTime(1000);
            bench.snapshot();
            assertEquals(List.of(), bench.said(5), "a walk that was done is not begun again");
        }
    }

    @Test
    void theEndOfABoundedInputWaitsForTheWalk() throws Exception {
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open()) {
            fill(bench, 120);
            bench.broadcast(OperatorBench.rules(2));
            bench.harness.endAllInputs();
            bench.operator.finish();
            assertEquals(":look@120|1,2", bench.said(5).get(120));
        }
    }

    @Test
    void warmingRulesLookAtNobody() throws Exception {
        try (OperatorBench bench = new OperatorBench(OperatorBench.config()).open()) {
            fill(bench, 3);
            bench.broadcast(OperatorBench.warming(2));
            bench.harness.setProcessingTime(1000);
            bench.snapshot();
            assertEquals(List.of(), bench.said(5));
        }
    }

    private static void fill(OperatorBench bench, int customers) throws Exception {
        for (int i = 0; i < customers; i++) {
            bench.send("c" + i, "x");
        }
        bench.snapshot();
    }

    /** Lets time go on until the walk is through; those who were looked at. */
    private static Set<String> sweepOf(OperatorBench bench, int customers) throws Exception {
        bench.until(() -> {
            bench.harness.setProcessingTime(bench.harness.getProcessingTime() + 1);
            return bench.said(5).stream().anyMatch(word -> word.startsWith(":look@" + customers + "|"));
        });
        Set<String> seen = new TreeSet<>();
        for (String word : bench.said(5)) {
            if (!word.startsWith(":")) {
                assertTrue(seen.add(word), word + " twice");
            }
        }
        return seen;
    }

    private static List<String> rulesSaid(OperatorBench bench) {
        List<String> said = bench.said(4);
        said.removeIf(word -> !word.startsWith("rules:"));
        return said;
    }
}
