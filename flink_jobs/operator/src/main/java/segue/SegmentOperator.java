package segue;

import java.io.File;
import java.io.IOException;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.RejectedExecutionException;
import org.apache.flink.api.common.operators.MailboxExecutor;
import org.apache.flink.api.common.state.BroadcastState;
import org.apache.flink.api.common.state.ListState;
import org.apache.flink.api.common.state.ListStateDescriptor;
import org.apache.flink.api.common.state.MapStateDescriptor;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.PrimitiveArrayTypeInfo;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.common.typeutils.base.StringSerializer;
import org.apache.flink.api.common.typeutils.base.array.BytePrimitiveArraySerializer;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.metrics.MetricGroup;
import org.apache.flink.runtime.state.StateInitializationContext;
import org.apache.flink.runtime.state.StateSnapshotContext;
import org.apache.flink.runtime.state.VoidNamespace;
import org.apache.flink.runtime.state.VoidNamespaceSerializer;
import org.apache.flink.streaming.api.operators.AbstractStreamOperator;
import org.apache.flink.streaming.api.operators.InternalTimer;
import org.apache.flink.streaming.api.operators.InternalTimerService;
import org.apache.flink.streaming.api.operators.Triggerable;
import org.apache.flink.streaming.api.operators.TwoInputStreamOperator;
import org.apache.flink.streaming.api.watermark.Watermark;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import org.apache.flink.streaming.runtime.watermarkstatus.WatermarkStatus;
import org.apache.flink.types.Row;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Segments customers: gathers arrivals, hands each customer's state and arrivals to a Python worker in one frame, and applies what
 * it answers (new state, next timer, outputs, counters).
 *
 * <p>At most two frames are on their way, so that the worker finds the next one waiting when it has answered, and the next batch is
 * gathered meanwhile. A customer is in one of them only: whoever is on the way already waits for the answer, so no frame is sent with
 * a state that another one is about to replace. Before anything that divides time into
 * before and after (a watermark, a checkpoint, a rule change, the end) all that was gathered is worked off; therefore it makes no
 * difference to the result how arrivals fell into batches.
 *
 * <p>First input: the rows of {@link ReadRecord}, keyed by customer. Second: rule sets, broadcast. Output: rows of
 * (destination, key, value).
 */
public class SegmentOperator extends AbstractStreamOperator<Row>
        implements TwoInputStreamOperator<Row, byte[], Row>, Triggerable<String, VoidNamespace> {
    private static final long serialVersionUID = 1L;

    private static final Logger LOG = LoggerFactory.getLogger(SegmentOperator.class);

    private static final MapStateDescriptor<String, byte[]> RULES =
            new MapStateDescriptor<>("rules", StringSerializer.INSTANCE, BytePrimitiveArraySerializer.INSTANCE);
    private static final String CURRENT = "current";

    private static final ListStateDescriptor<Tuple2<String, Long>> TOTALS =
            new ListStateDescriptor<>("totals", Types.TUPLE(Types.STRING, Types.LONG));

    private static final int MOST_FLIGHTS = 2;

    /** A frame that is with the worker. */
    private record Flight(List<Arrival.Group> groups, int arrivals, long sentAt) {}

    private final SegmentConfig config;

    private transient MailboxExecutor mailbox;
    private transient WorkerProcess worker;

    private transient ValueState<byte[]> customers;
    private transient InternalTimerService<VoidNamespace> timers;
    private transient BroadcastState<String, byte[]> rules;
    private transient ListState<Tuple2<String, Long>> totalsState;
    private transient Totals totals;

    private transient Batch gathered;
    /** When the first of the gathered arrivals came, by the task's clock. */
    private transient long gatheredSince;
    /** A lingering timer is set; there is never more than one, and it may find nothing left to do. */
    private transient boolean lingering;

    /** The frames that are with the worker, the oldest first, and the customers in them. */
    private transient ArrayDeque<Flight> flights;
    private transient Set<String> away;
    private transient long watermark;
    private transient boolean begun;
    private transient long openedAt;

    private transient volatile int inFlight;
    private transient volatile int lastBatchSize;
    private transient volatile long batchMillis;

    public SegmentOperator(SegmentConfig config) {
        config.check();
        this.config = config;
    }

    /** The rows that come out: destination, key, value. */
    public static TypeInformation<Row> outputType() {
        TypeInformation<byte[]> bytes = PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO;
        return Types.ROW_NAMED(new String[] {"destination", "key", "value"}, Types.INT, bytes, bytes);
    }

    /** Flink gives the executor to every operator that is attached by `transform`; the base class keeps it to itself. */
    @Override
    public void setMailboxExecutor(MailboxExecutor mailboxExecutor) {
        super.setMailboxExecutor(mailboxExecutor);
        mailbox = mailboxExecutor;
    }

    @Override
    public void initializeState(StateInitializationContext context) throws Exception {
        super.initializeState(context);
        MetricGroup group = getMetricGroup().addGroup("segue");
        group.gauge("last_batch_size", () -> lastBatchSize);
        group.gauge("in_flight", () -> inFlight);
        group.gauge("batch_millis", () -> batchMillis);
        totals = new Totals(group);
        group.gauge("worker_pid", this::workerPid);

        rules = context.getOperatorStateStore().getBroadcastState(RULES);
        totalsState = context.getOperatorStateStore().getListState(TOTALS);
        totals.restore(totalsState.get());
    }

    @Override
    public void open() throws Exception {
        super.open();
        customers = getPartitionedState(new ValueStateDescriptor<>("customer", BytePrimitiveArraySerializer.INSTANCE));
        timers = getInternalTimerService("timers", VoidNamespaceSerializer.INSTANCE, this);
        // Part of it is left for the states, of which nothing is known while arrivals are gathered.
        gathered = new Batch(config.maxBatch, config.maxFrameBytes / 4);
        flights = new ArrayDeque<>(MOST_FLIGHTS);
        away = new HashSet<>();
        watermark = Long.MIN_VALUE;
        begun = false;
        openedAt = getProcessingTimeService().getCurrentProcessingTime();
        File cached = config.cachedFile == null ? null : getRuntimeContext().getDistributedCache().getFile(config.cachedFile);
        worker = new WorkerProcess(config, "segue-worker-" + subtask(), cached, this::signal);
        // A cancelled task may wait in a read or write that no interrupt ends; the worker's death does.
        getContainingTask().getCancelables().registerCloseable(worker::kill);
        int parallelism = getRuntimeContext().getTaskInfo().getNumberOfParallelSubtasks();
        Object description =
                ask(Frames.hello(subtask(), parallelism, config.settings), Frames::helloReply, config.startDeadlineMillis);
        LOG.info("segue-worker-{} (pid {}) is {}", subtask(), worker.pid(), description);
        startRules();
    }

    /** Continues with the restored rule set, unless the job was built with a newer one. */
    private void startRules() throws Exception {
        byte[] restored = rules.get(CURRENT);
        boolean again = restored != null && !Rules.isOlder(restored, config.rules);
        byte[] payload = again ? restored : config.rules;
        Frames.RulesReply reply = askRules(payload);
        if (!reply.accepted()) {
            throw new WorkerFailure("the worker refused the " + (again ? "restored" : "initial") + " rule set: " + reply.detail());
        }
        rules.put(CURRENT, payload);
        // What it says about a restored rule set it has said, and counted, before.
        if (!again) {
            report(reply);
        }
    }

    private int subtask() {
        return getRuntimeContext().getTaskInfo().getIndexOfThisSubtask();
    }

    // ---- arrivals ----

    @Override
    public void processElement1(StreamRecord<Row> element) throws Exception {
        begun = true;
        Row row = element.getValue();
        gather((String) row.getField(0), new Arrival(
                (byte[]) row.getField(1),
                (long) row.getField(2),
                (int) row.getField(3),
                (long) row.getField(4),
                (int) row.getField(5),
                (byte[]) row.getField(6)));
        if (!gathered.isEmpty() && flights.isEmpty()) {
            sendOrLinger();
        }
    }

    @Override
    public void onEventTime(InternalTimer<String, VoidNamespace> timer) throws Exception {
        gather(timer.getKey(), Arrival.timer(timer.getTimestamp()));
    }

    @Override
    public void onProcessingTime(InternalTimer<String, VoidNamespace> timer) {
        throw new IllegalStateException("no timer is ever set in processing time");
    }

    private void gather(String customer, Arrival arrival) throws Exception {
        if (gathered.isEmpty()) {
            gatheredSince = getProcessingTimeService().getCurrentProcessingTime();
        }
        gathered.add(customer, arrival);
        while (gathered.isFull()) {
            if (flights.size() == MOST_FLIGHTS || !sendFrame()) {
                // Blocks while the worker is busy: this is how its pace holds back the sources.
                finishOldest();
            }
        }
    }

    /** Sends what is gathered if it is due; otherwise sees to it that it will be. Only while nothing is on its way. */
    private void sendOrLinger() throws Exception {
        long due = gatheredSince + config.lingerMillis;
        if (gathered.isFull() || config.lingerMillis == 0 || getProcessingTimeService().getCurrentProcessingTime() >= due) {
            sendFrame();
        } else if (!lingering) {
            lingering = true;
            getProcessingTimeService().registerTimer(due, time -> {
                lingering = false;
                if (!gathered.isEmpty() && flights.isEmpty()) {
                    sendOrLinger();
                }
            });
        }
    }

    // ---- frames ----

    /** From a thread of the worker's: has the task's thread look at what there is. */
    private void signal() {
        try {
            mailbox.execute(this::hear, "an answer of the segmentation worker");
        } catch (RejectedExecutionException ended) {
            LOG.debug("the task ended before its worker's answer was in");
        }
    }

    /** The answer may have been taken by a wait meanwhile, and then there is nothing to hear. */
    private void hear() throws Exception {
        Object answer = worker.poll();
        if (answer != null) {
            apply((Frames.BatchReply) answer);
            if (!gathered.isEmpty() && flights.isEmpty()) {
                sendOrLinger();
            }
        }
    }

    /**
     * Sends gathered groups, as many as fit into a frame; the rest stays gathered, and so do customers who are on the way already.
     * False if that leaves none to send.
     */
    private boolean sendFrame() throws Exception {
        List<Arrival.Group> groups = new ArrayList<>(gathered.groups().size());
        long bytes = 0;
        int arrivals = 0;
        for (Iterator<Arrival.Group> rest = gathered.groups().iterator(); rest.hasNext(); ) {
            Arrival.Group group = rest.next();
            if (away.contains(group.customer)) {
                continue;
            }
            if (!group.customer.isEmpty()) {
                setCurrentKey(group.customer);
                group.stored = customers.value();
            }
            bytes += group.frameBytes();
            if (bytes > config.maxFrameBytes - 64 && !groups.isEmpty()) {
                break;
            }
            groups.add(group);
            arrivals += group.arrivals.size();
            rest.remove();
            gathered.removed(group);
        }
        if (groups.isEmpty()) {
            return false;
        }
        byte[] frame = Frames.batch(watermark, groups);
        worker.send(frame, answer -> Frames.batchReply(answer, groups.size()), config.frameDeadlineMillis);
        flights.add(new Flight(groups, arrivals, System.nanoTime()));
        for (Arrival.Group group : groups) {
            away.add(group.customer);
        }
        inFlight += arrivals;
        lastBatchSize = arrivals;
        return true;
    }

    private void finishOldest() throws Exception {
        apply((Frames.BatchReply) worker.await());
    }

    /** Works off everything, with nothing gathered or on its way left. */
    private void drain() throws Exception {
        while (!gathered.isEmpty() || !flights.isEmpty()) {
            if (gathered.isEmpty() || flights.size() == MOST_FLIGHTS || !sendFrame()) {
                finishOldest();
            }
        }
    }

    private Object ask(byte[] frame, WorkerProcess.Decoder<?> decoder, long deadlineMillis) throws Exception {
        worker.send(frame, decoder, deadlineMillis);
        return worker.await();
    }

    private Frames.RulesReply askRules(byte[] payload) throws Exception {
        return (Frames.RulesReply) ask(Frames.rules(payload), Frames::rulesReply, config.startDeadlineMillis);
    }

    // ---- answers ----

    private void apply(Frames.BatchReply reply) throws Exception {
        Flight flight = flights.remove();
        List<Arrival.Group> groups = flight.groups();
        inFlight -= flight.arrivals();
        for (int i = 0; i < groups.size(); i++) {
            Arrival.Group group = groups.get(i);
            away.remove(group.customer);
            if (!group.customer.isEmpty()) {
                applyToCustomer(group, reply.states()[i], reply.timers()[i]);
            } else if (reply.states()[i] != null) {
                throw new IOException("the worker answered with a state for a record that names no customer");
            }
        }
        emit(reply.outputs());
        totals.add(reply.counters());
        batchMillis = (System.nanoTime() - flight.sentAt()) / 1_000_000;
    }

    /** Timers are lazy: only an earlier moment is armed anew, a later one waits for the armed timer to fire and find nothing due. */
    private void applyToCustomer(Arrival.Group group, byte[] state, long next) throws Exception {
        long before = Stored.timer(group.stored);
        long armed = before;
        for (Arrival arrival : group.arrivals) {
            if (arrival.isTimer() && arrival.time() == armed) {
                armed = Stored.NO_TIMER;
            }
        }
        boolean remove = state != null && !Stored.hasProfile(state);
        boolean profile = state == null ? Stored.hasProfile(group.stored) : !remove;
        setCurrentKey(group.customer);
        if (next < armed || (remove && next != armed)) {
            if (armed != Stored.NO_TIMER) {
                timers.deleteEventTimeTimer(VoidNamespace.INSTANCE, armed);
            }
            if (next != Stored.NO_TIMER) {
                timers.registerEventTimeTimer(VoidNamespace.INSTANCE, next);
            }
            armed = next;
        }
        if (!profile && armed == Stored.NO_TIMER) {
            if (group.stored != null) {
                customers.clear();
            }
        } else if (state != null) {
            Stored.setTimer(state, armed);
            customers.update(state);
        } else if (armed != before) {
            customers.update(Stored.withTimer(group.stored, armed));
        }
    }

    private void emit(List<Row> outputs) {
        for (Row row : outputs) {
            output.collect(new StreamRecord<>(row));
        }
    }

    // ---- rules ----

    @Override
    public void processElement2(StreamRecord<byte[]> element) throws Exception {
        byte[] payload = element.getValue();
        byte[] current = rules.get(CURRENT);
        if (payload == null || Arrays.equals(payload, current)) {
            return;
        }
        if (Rules.isOlder(payload, current)) {
            count("rules_ignored");
            return;
        }
        drain();
        Frames.RulesReply reply = askRules(payload);
        if (reply.accepted()) {
            rules.put(CURRENT, payload);
        } else {
            LOG.warn("a rule set was refused and the one before stays: {}", reply.detail());
            if (!reply.counters().containsKey("rules_refused")) {
                count("rules_refused");
            }
        }
        report(reply);
    }

    /** Each subtask hears of a rule set, but it shall be told and counted once. */
    private void report(Frames.RulesReply reply) throws IOException {
        if (subtask() == 0) {
            emit(reply.outputs());
            totals.add(reply.counters());
        }
    }

    private void count(String name) throws IOException {
        if (subtask() == 0) {
            totals.add(name, 1);
        }
    }

    // ---- time, checkpoints, life ----

    /**
     * The rules may end (a bounded job reads those that are there) while events still come. Taken as a time, their end would be all of
     * time: as soon as the events paused, the clock would stand at the end of days, and no timer would ever fire again.
     */
    @Override
    public void processWatermark2(Watermark mark) throws Exception {
        if (mark.getTimestamp() == Long.MAX_VALUE) {
            processWatermarkStatus2(WatermarkStatus.IDLE);
        } else if (hasBegun()) {
            super.processWatermark2(mark);
        }
    }

    /** Whether events have come since the start, or have had the time to: only then is their silence a silence. */
    private boolean hasBegun() {
        begun = begun || getProcessingTimeService().getCurrentProcessingTime() - openedAt >= config.clockGraceMillis;
        return begun;
    }

    @Override
    public void processWatermark(Watermark mark) throws Exception {
        drain();
        // The end of a bounded input is not the passage of time: nobody's absence is proven by it.
        if (mark.getTimestamp() == Long.MAX_VALUE) {
            output.emitWatermark(mark);
            return;
        }
        watermark = mark.getTimestamp();
        timeServiceManager.advanceWatermark(mark);
        drain();
        output.emitWatermark(mark);
    }

    @Override
    public void prepareSnapshotPreBarrier(long checkpointId) throws Exception {
        drain();
        super.prepareSnapshotPreBarrier(checkpointId);
    }

    @Override
    public void snapshotState(StateSnapshotContext context) throws Exception {
        if (!flights.isEmpty() || !gathered.isEmpty()) {
            throw new IllegalStateException("a checkpoint was taken while arrivals were under way: they would be lost");
        }
        totalsState.update(totals.snapshot());
        super.snapshotState(context);
    }

    @Override
    public void finish() throws Exception {
        drain();
        super.finish();
    }

    @Override
    public void close() throws Exception {
        if (worker != null) {
            worker.close();
        }
        super.close();
    }

    long workerPid() {
        return worker == null ? -1 : worker.pid();
    }

    /** For tests: what this subtask has counted since the job first started. */
    Map<String, Long> totals() {
        Map<String, Long> copy = new TreeMap<>();
        totals.snapshot().forEach(share -> copy.put(share.f0, share.f1));
        return copy;
    }
}
