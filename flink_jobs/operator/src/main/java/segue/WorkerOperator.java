package segue;

import java.io.File;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.RejectedExecutionException;
import org.apache.flink.api.common.operators.MailboxExecutor;
import org.apache.flink.api.common.state.ListState;
import org.apache.flink.api.common.state.ListStateDescriptor;
import org.apache.flink.api.common.typeinfo.PrimitiveArrayTypeInfo;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.metrics.MetricGroup;
import org.apache.flink.runtime.state.StateInitializationContext;
import org.apache.flink.runtime.state.StateSnapshotContext;
import org.apache.flink.streaming.api.operators.AbstractStreamOperator;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import org.apache.flink.types.Row;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * An operator that has its work done by a Python worker: the worker's life, the way in which its answers come back into the task's
 * thread, and the counters that survive restarts. Its output are rows of (destination, key, value).
 */
abstract class WorkerOperator extends AbstractStreamOperator<Row> {
    private static final long serialVersionUID = 1L;

    private static final Logger LOG = LoggerFactory.getLogger(WorkerOperator.class);

    private static final ListStateDescriptor<Tuple2<String, Long>> TOTALS =
            new ListStateDescriptor<>("totals", Types.TUPLE(Types.STRING, Types.LONG));

    protected final WorkerConfig config;
    private final String name;

    private transient MailboxExecutor mailbox;
    protected transient WorkerProcess worker;
    protected transient MetricGroup metricGroup;
    protected transient Totals totals;
    private transient ListState<Tuple2<String, Long>> totalsState;

    /** @param name what the worker is called in logs and failures; the subtask's number is added */
    protected WorkerOperator(WorkerConfig config, String name) {
        config.check();
        this.config = config;
        this.name = name;
    }

    /** The rows that come out: destination, key, value. */
    public static TypeInformation<Row> outputType() {
        TypeInformation<byte[]> bytes = PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO;
        return Types.ROW_NAMED(new String[] {"destination", "key", "value"}, Types.INT, bytes, bytes);
    }

    /** Takes an answer that came while the task did not wait for one. */
    protected abstract void heard(Object answer) throws Exception;

    /** Flink gives the executor to every operator that is attached by `transform`; the base class keeps it to itself. */
    @Override
    public void setMailboxExecutor(MailboxExecutor mailboxExecutor) {
        super.setMailboxExecutor(mailboxExecutor);
        mailbox = mailboxExecutor;
    }

    @Override
    public void initializeState(StateInitializationContext context) throws Exception {
        super.initializeState(context);
        metricGroup = getMetricGroup().addGroup("segue");
        metricGroup.gauge("worker_pid", this::workerPid);
        totalsState = context.getOperatorStateStore().getListState(TOTALS);
        totals = new Totals(metricGroup, totalsState.get());
    }

    /** Starts the worker and has it say hello. */
    protected void startWorker() throws Exception {
        File cached = config.cachedFile == null ? null : getRuntimeContext().getDistributedCache().getFile(config.cachedFile);
        String full = name + "-" + subtask();
        worker = new WorkerProcess(config, full, cached, this::signal);
        // A cancelled task may wait in a read or write that no interrupt ends; the worker's death does.
        getContainingTask().getCancelables().registerCloseable(worker::kill);
        int parallelism = getRuntimeContext().getTaskInfo().getNumberOfParallelSubtasks();
        Object description =
                ask(Frames.hello(subtask(), parallelism, config.settings), Frames::helloReply, config.startDeadlineMillis);
        LOG.info("{} (pid {}) is {}", full, worker.pid(), description);
    }

    protected int subtask() {
        return getRuntimeContext().getTaskInfo().getIndexOfThisSubtask();
    }

    /** From a thread of the worker's: has the task's thread look at what there is. */
    private void signal() {
        try {
            mailbox.execute(this::hear, "an answer of the worker");
        } catch (RejectedExecutionException ended) {
            LOG.debug("the task ended before its worker's answer was in");
        }
    }

    /** The answer may have been taken by a wait meanwhile, and then there is nothing to hear. */
    private void hear() throws Exception {
        Object answer = worker.poll();
        if (answer != null) {
            heard(answer);
        }
    }

    /** Sends a frame and waits for its answer; only while no other is on its way. */
    protected <T> T ask(byte[] frame, WorkerProcess.Decoder<T> decoder, long deadlineMillis) throws Exception {
        worker.send(frame, decoder, deadlineMillis);
        @SuppressWarnings("unchecked")
        T answer = (T) worker.await();
        return answer;
    }

    Frames.RulesReply askRules(byte[] payload) throws Exception {
        return ask(Frames.rules(payload), Frames::rulesReply, config.startDeadlineMillis);
    }

    protected void emit(List<Row> outputs) {
        for (Row row : outputs) {
            output.collect(new StreamRecord<>(row));
        }
    }

    @Override
    public void snapshotState(StateSnapshotContext context) throws Exception {
        totalsState.update(totals.snapshot());
        super.snapshotState(context);
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
