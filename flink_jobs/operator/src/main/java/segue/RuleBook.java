package segue;

import java.nio.ByteBuffer;
import java.util.Arrays;
import org.apache.flink.api.common.state.BroadcastState;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Which rule set is in force, and which waits; all of it in broadcast state.
 *
 * <p>A rule set whose segments are warming becomes live when it comes again without them. The worker is told of both, also after a
 * restart, as customers who were not seen since are brought from the one to the other. Rules and control records come on two
 * topics, which are not ordered against each other when they are read again after a failure: so the live one waits until the end of the
 * handover was seen.
 */
final class RuleBook {
    private static final Logger LOG = LoggerFactory.getLogger(RuleBook.class);

    private static final String CURRENT = "current";
    /** The current rule set as it was while it was warming. */
    private static final String WARMED = "warmed";
    /** The rule set that is warming, as it will be once it is live. */
    private static final String AWAITED = "awaited";
    /** The version whose handover has ended. */
    private static final String ENDED = "ended";

    private final BroadcastState<String, byte[]> state;
    private final SegmentOperator operator;
    private final Sweep sweep;

    RuleBook(BroadcastState<String, byte[]> state, SegmentOperator operator, Sweep sweep) {
        this.state = state;
        this.operator = operator;
        this.sweep = sweep;
    }

    /** Continues with the restored rule set, unless the job was built with a newer one; whether it is another one than before. */
    boolean open(byte[] initial) throws Exception {
        byte[] restored = state.get(CURRENT);
        if (restored != null && !Rules.isOlder(restored, initial)) {
            if (state.contains(WARMED)) {
                askAccepted(state.get(WARMED), "restored");
            }
            // What it says about a restored rule set it has said, and counted, before.
            askAccepted(restored, "restored");
            return false;
        }
        if (restored != null && Rules.isLiveOf(restored, initial)) {
            askAccepted(restored, "restored");
            return hear(initial);
        }
        Frames.RulesReply reply = askAccepted(initial, "initial");
        adopt(initial);
        operator.report(reply);
        if (restored != null && !Rules.isWarming(initial)) {
            operator.startSweep();
        }
        return true;
    }

    private Frames.RulesReply askAccepted(byte[] payload, String which) throws Exception {
        Frames.RulesReply reply = operator.askRules(payload);
        if (!reply.accepted()) {
            throw new WorkerFailure("the worker refused the " + which + " rule set: " + reply.detail());
        }
        return reply;
    }

    /** A rule set was published; whether it is the one in force now. */
    boolean hear(byte[] payload) throws Exception {
        byte[] current = state.get(CURRENT);
        if (Arrays.equals(payload, current)) {
            return false;
        }
        if (Rules.isOlder(payload, current)) {
            operator.count("rules_ignored");
        } else if (Rules.isLiveOf(current, payload) && !hasEnded(current)) {
            state.put(AWAITED, payload);
        } else {
            return follow(payload);
        }
        return false;
    }

    /** All customers have been handed over for a version; whether another rule set is in force thereby. */
    boolean handoverEnded(long version) throws Exception {
        state.put(ENDED, ByteBuffer.allocate(Long.BYTES).putLong(version).array());
        byte[] awaited = state.get(AWAITED);
        return awaited != null && hasEnded(state.get(CURRENT)) && follow(awaited);
    }

    private boolean hasEnded(byte[] warming) throws Exception {
        byte[] ended = state.get(ENDED);
        return ended != null && Rules.code(warming).orElse(-1) == 2 * ByteBuffer.wrap(ended).getLong();
    }

    private boolean follow(byte[] payload) throws Exception {
        operator.drain();
        Frames.RulesReply reply = operator.askRules(payload);
        if (reply.accepted()) {
            adopt(payload);
            if (Rules.isWarming(payload)) {
                sweep.stop();
            } else {
                operator.startSweep();
            }
        } else {
            LOG.warn("a rule set was refused and the one before stays: {}", reply.detail());
            if (!reply.counters().containsKey("rules_refused")) {
                operator.count("rules_refused");
            }
        }
        operator.report(reply);
        return reply.accepted();
    }

    private void adopt(byte[] payload) throws Exception {
        byte[] before = state.get(CURRENT);
        if (before != null && Rules.isLiveOf(before, payload)) {
            state.put(WARMED, before);
        } else if (before == null || Rules.isOlder(before, payload)) {
            state.remove(WARMED);
        }
        state.remove(AWAITED);
        state.put(CURRENT, payload);
    }
}
