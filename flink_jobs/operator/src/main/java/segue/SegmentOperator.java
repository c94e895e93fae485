package segue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;
import org.apache.flink.api.common.state.ListState;
import org.apache.flink.api.common.state.ListStateDescriptor;
import org.apache.flink.api.common.state.MapStateDescriptor;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.common.typeutils.base.StringSerializer;
import org.apache.flink.api.common.typeutils.base.array.BytePrimitiveArraySerializer;
import org.apache.flink.runtime.state.StateInitializationContext;
import org.apache.flink.runtime.state.StateSnapshotContext;
import org.apache.flink.runtime.state.VoidNamespace;
import org.apache.flink.runtime.state.VoidNamespaceSerializer;
import org.apache.flink.streaming.api.operators.InternalTimer;
import org.apache.flink.streaming.api.operators.Triggerable;
import org.apache.flink.streaming.api.operators.TwoInputStreamOperator;
import org.apache.flink.streaming.api.watermark.Watermark;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import org.apache.flink.streaming.runtime.watermarkstatus.WatermarkStatus;
import org.apache.flink.types.Row;

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
 * <p>First input: the rows of {@link ReadRecord}, keyed by customer. Second: rule sets and control records, broadcast. Output: rows of
 * (destination, key, value).
 */
public class SegmentOperator extends WorkerOperator
        implements TwoInputStreamOperator<Row, byte[], Row>, Triggerable<String, VoidNamespace> {
    private static final long serialVersionUID = 1L;

    private static final MapStateDescriptor<String, byte[]> RULES =
            new MapStateDescriptor<>("rules", StringSerializer.INSTANCE, BytePrimitiveArraySerializer.INSTANCE);

    private static final MapStateDescriptor<String, byte[]> MODELS =
            new MapStateDescriptor<>("models", StringSerializer.INSTANCE, BytePrimitiveArraySerializer.INSTANCE);

    /** Has an element for each subtask whose walk through all customers is under way. */
    private static final ListStateDescriptor<Long> SWEEP = new ListStateDescriptor<>("sweep", Types.LONG);

    private static final String CUSTOMER = "customer";

    private static final int MOST_FLIGHTS = 2;

    /** A frame that is with the worker. */
    private record Flight(List<Arrival.Group> groups, int arrivals, long sentAt) {}

    private transient Customers customers;
    private transient RuleBook rules;
    private transient ModelBook models;
    private transient Sweep sweep;
    private transient ListState<Long> sweepState;
    private transient boolean finishing;

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

    public SegmentOperator(WorkerConfig config) {
        super(config, "segue-worker");
        config.checkRules();
    }

    @Override
    public void initializeState(StateInitializationContext context) throws Exception {
        super.initializeState(context);
        metricGroup.gauge("last_batch_size", () -> lastBatchSize);
        metricGroup.gauge("in_flight", () -> inFlight);
        metricGroup.gauge("batch_millis", () -> batchMillis);

        sweep = new Sweep();
        metricGroup.gauge("customers_to_reconcile", sweep::left);
        rules = new RuleBook(context.getOperatorStateStore().getBroadcastState(RULES), this, sweep);
        models = new ModelBook(context.getOperatorStateStore().getBroadcastState(MODELS), this, mostRecordBytes());
        // Each subtask hears what any of them was doing: after a rescale their customers are mixed.
        sweepState = context.getOperatorStateStore().getUnionListState(SWEEP);
    }

    @Override
    public void open() throws Exception {
        super.open();
        customers = new Customers(
                this,
                getPartitionedState(new ValueStateDescriptor<>(CUSTOMER, BytePrimitiveArraySerializer.INSTANCE)),
                getInternalTimerService("timers", VoidNamespaceSerializer.INSTANCE, this));
        // Part of it is left for the states, of which nothing is known while arrivals are gathered.
        gathered = new Batch(config.maxBatch, config.maxFrameBytes / 4);
        flights = new ArrayDeque<>(MOST_FLIGHTS);
        away = new HashSet<>();
        watermark = Long.MIN_VALUE;
        begun = false;
        openedAt = getProcessingTimeService().getCurrentProcessingTime();
        startWorker();
        boolean isNew = rules.open(config.rules);
        models.tellAll(true);
        if (isNew) {
            models.passAll();
        }
        if (sweepState.get().iterator().hasNext()) {
            startSweep();
        }
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
        sendIfIdle();
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

    private void sendIfIdle() throws Exception {
        if (!gathered.isEmpty() && flights.isEmpty()) {
            sendOrLinger();
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
                sendIfIdle();
            });
        }
    }

    // ---- frames ----

    @Override
    protected void heard(Object answer) throws Exception {
        apply((Frames.BatchReply) answer);
        sendIfIdle();
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
                group.stored = customers.stored(group.customer);
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
    void drain() throws Exception {
        while (!gathered.isEmpty() || !flights.isEmpty()) {
            if (gathered.isEmpty() || flights.size() == MOST_FLIGHTS || !sendFrame()) {
                finishOldest();
            }
        }
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
                customers.apply(group, reply.states()[i], reply.timers()[i]);
            } else if (reply.states()[i] != null) {
                throw new IOException("the worker answered with a state for a record that names no customer");
            }
        }
        emit(reply.outputs());
        totals.add(reply.counters());
        if (sweep.hasCome(groups)) {
            goOnSweeping(sweep.dueAfter(getProcessingTimeService().getCurrentProcessingTime()));
        }
        batchMillis = (System.nanoTime() - flight.sentAt()) / 1_000_000;
    }

    // ---- rules and control ----

    @Override
    public void processElement2(StreamRecord<byte[]> element) throws Exception {
        byte[] value = element.getValue();
        if (value == null) {
            return;
        }
        if (ModelRecord.isOne(value)) {
            models.hear(value);
        } else if (ControlRecord.isOne(value)) {
            control(value);
        } else if (rules.hear(value)) {
            tellModelsAgain();
        }
    }

    private void control(byte[] value) throws Exception {
        Optional<ControlRecord> record = ControlRecord.read(value, config.maxFrameBytes / 4);
        if (record.isEmpty()) {
            count("control_dropped");
        } else if (record.get().kind() == ControlRecord.END) {
            drain();
            gather(CustomerText.NOBODY, record.get().arrival());
            drain();
            if (rules.handoverEnded(record.get().version())) {
                tellModelsAgain();
            }
        } else if (record.get().concerns(getRuntimeContext().getTaskInfo())) {
            gather(record.get().customer(), record.get().arrival());
            sendIfIdle();
        }
    }

    /** Each subtask says how it stands with a rule set, but what it counts shall be counted once. */
    void report(Frames.RulesReply reply) throws IOException {
        emit(reply.outputs());
        if (subtask() == 0) {
            totals.add(reply.counters());
        }
    }

    /** The longest record that is taken: several fit into a frame. */
    private int mostRecordBytes() {
        return config.maxFrameBytes / 3;
    }

    /**
     * Hands a version of a model to the worker; the version of that candidate that it holds now, 0 for none.
     *
     * @param again it has had it before: the answer says nothing new, and it is to have it before the first customer comes
     */
    long tellModel(byte[] element, boolean again) throws Exception {
        drain();
        byte[] frame = Frames.model(element, 1, again);
        Frames.Adopted adopted = ask(frame, Frames::adopted, config.startDeadlineMillis);
        if (!again) {
            emit(adopted.told().outputs());
            totals.add(adopted.told().counters());
        }
        return adopted.held();
    }

    /** Another rule set is in force: it may know models that the one before did not. */
    private void tellModelsAgain() throws Exception {
        models.tellAll(false);
        models.passAll();
    }

    /** All subtasks hear of a version, and the learner is to hear of it once. */
    void passToLearner(byte[] element) {
        if (subtask() == 0) {
            byte[] kind = ToLearner.MODEL.getBytes(StandardCharsets.UTF_8);
            output.collect(new StreamRecord<>(Row.of(ToLearner.DESTINATION, kind, element)));
        }
    }

    /** Counts something once for all subtasks. */
    void count(String name) throws IOException {
        if (subtask() == 0) {
            totals.add(Map.of(name, 1L));
        }
    }

    // ---- the walk through all customers ----

    /** Brings every customer under the present rules. */
    void startSweep() {
        try (Stream<String> keys = this.<String>getKeyedStateBackend().getKeys(CUSTOMER, VoidNamespace.INSTANCE)) {
            sweep.start(keys.toList());
        }
        goOnSweeping(getProcessingTimeService().getCurrentProcessingTime() + 1);
    }

    private void goOnSweeping(long at) {
        if (!finishing) {
            getProcessingTimeService().registerTimer(at, time -> {
                sweepOn();
                sendIfIdle();
            });
        }
    }

    /** Hands the next customers to the worker, or says that these were all. */
    private void sweepOn() throws Exception {
        for (String customer : sweep.next(getProcessingTimeService().getCurrentProcessingTime())) {
            gather(customer, Arrival.reconcile());
        }
        if (sweep.isThrough()) {
            sweep.stop();
            gather(CustomerText.NOBODY, Arrival.reconciled(sweep.met()));
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
        sweepState.update(sweep.isUnderWay() ? List.of(sweep.left()) : List.of());
        super.snapshotState(context);
    }

    @Override
    public void finish() throws Exception {
        finishing = true;
        drain();
        while (sweep.isUnderWay()) {
            sweepOn();
            drain();
        }
        super.finish();
    }
}
