package segue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.apache.flink.api.common.state.ListState;
import org.apache.flink.api.common.state.ListStateDescriptor;
import org.apache.flink.api.common.typeutils.base.array.BytePrimitiveArraySerializer;
import org.apache.flink.runtime.state.StateInitializationContext;
import org.apache.flink.runtime.state.StateSnapshotContext;
import org.apache.flink.streaming.api.operators.OneInputStreamOperator;
import org.apache.flink.streaming.api.watermark.Watermark;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import org.apache.flink.types.Row;

/**
 * Has a Python worker learn from labelled examples; what it publishes goes on as rows. One subtask learns everything: examples are learnt in
 * one order, which the worker makes of them with the help of the watermark.
 *
 * <p>All the worker knows is in the operator's state, in pieces, as it was at the checkpoint: after a failure it is handed back, and the
 * examples since then come again. So each example is learnt once, and what was published of it is committed with the state that knows it.
 *
 * <p>At most two frames are on their way; a full batch beyond that blocks the task, which holds back the segments operator. Everything
 * gathered is worked off before a watermark is forwarded, a checkpoint taken, a definition changed, the input ended.
 *
 * <p>Input: the rows that {@link ToLearner} lets through.
 */
public class LearnerOperator extends WorkerOperator implements OneInputStreamOperator<Row, Row> {
    private static final long serialVersionUID = 1L;

    private static final ListStateDescriptor<byte[]> LEARNT =
            new ListStateDescriptor<>("learnt", BytePrimitiveArraySerializer.INSTANCE);

    private static final int MOST_FLIGHTS = 2;

    private transient ListState<byte[]> learnt;
    private transient List<byte[]> gathered;
    private transient long gatheredBytes;
    private transient int flights;
    private transient volatile long stateBytes;

    public LearnerOperator(WorkerConfig config) {
        super(config, "segue-learner");
    }

    @Override
    public void initializeState(StateInitializationContext context) throws Exception {
        super.initializeState(context);
        metricGroup.gauge("state_bytes", () -> stateBytes);
        learnt = context.getOperatorStateStore().getListState(LEARNT);
    }

    @Override
    public void open() throws Exception {
        super.open();
        if (getRuntimeContext().getTaskInfo().getNumberOfParallelSubtasks() != 1) {
            throw new IllegalStateException("the learner has a parallelism of 1: each example has its place among all others");
        }
        gathered = new ArrayList<>();
        startWorker();
        List<byte[]> pieces = new ArrayList<>();
        learnt.get().forEach(pieces::add);
        for (int i = 0; i < pieces.size(); i++) {
            byte[] frame = Frames.restore(i, pieces.size(), pieces.get(i));
            apply(ask(frame, answer -> Frames.told(Frames.RESTORE, answer), config.startDeadlineMillis));
        }
    }

    // ---- arrivals ----

    @Override
    public void processElement(StreamRecord<Row> element) throws Exception {
        Row row = element.getValue();
        byte[] key = (byte[]) row.getField(1);
        byte[] value = (byte[]) row.getField(2);
        if (key == null) {
            gather(value);
            return;
        }
        drain();
        String kind = new String(key, StandardCharsets.UTF_8);
        switch (kind) {
            case ToLearner.DEFINITIONS -> define(value);
            case ToLearner.MODEL -> apply(
                    ask(Frames.model(value, 1, true), Frames::adopted, config.startDeadlineMillis).told());
            default -> throw new IOException("the segments operator has sent the learner what it does not know: " + kind);
        }
    }

    /** The segments' workers have read these definitions before; where this one cannot, the two are of different builds. */
    private void define(byte[] definitions) throws Exception {
        Frames.RulesReply reply = askRules(definitions);
        if (!reply.accepted()) {
            throw new WorkerFailure("the learner refused definitions of models: " + reply.detail());
        }
        emit(reply.outputs());
        totals.add(reply.counters());
    }

    private void gather(byte[] example) throws Exception {
        gathered.add(example);
        gatheredBytes += example.length;
        if (gathered.size() >= config.maxBatch || gatheredBytes >= config.maxFrameBytes / 4) {
            send();
        }
    }

    private void send() throws Exception {
        if (flights == MOST_FLIGHTS) {
            // Blocks while the worker is busy: this is how its pace holds back the segments.
            await();
        }
        worker.send(Frames.examples(gathered), answer -> Frames.told(Frames.EXAMPLES, answer), config.frameDeadlineMillis);
        flights++;
        gathered.clear();
        gatheredBytes = 0;
    }

    private void await() throws Exception {
        heard(worker.await());
    }

    /** Works off everything, with nothing gathered or on its way left. */
    private void drain() throws Exception {
        if (!gathered.isEmpty()) {
            send();
        }
        while (flights > 0) {
            await();
        }
    }

    @Override
    protected void heard(Object answer) throws Exception {
        flights--;
        apply((Frames.Told) answer);
    }

    private void apply(Frames.Told told) throws IOException {
        emit(told.outputs());
        totals.add(told.counters());
    }

    // ---- time, checkpoints, life ----

    @Override
    public void processWatermark(Watermark mark) throws Exception {
        drain();
        // The end of a bounded input is not the passage of time; see SegmentOperator.
        boolean behind = mark.getTimestamp() != Long.MAX_VALUE;
        while (behind) {
            // The worker takes some examples at a time, so that no frame takes longer than its deadline.
            Frames.Told told = ask(Frames.watermark(mark.getTimestamp()), Frames::passed, config.frameDeadlineMillis);
            apply(told);
            behind = told.isBehind();
        }
        super.processWatermark(mark);
    }

    @Override
    public void prepareSnapshotPreBarrier(long checkpointId) throws Exception {
        drain();
        super.prepareSnapshotPreBarrier(checkpointId);
    }

    @Override
    public void snapshotState(StateSnapshotContext context) throws Exception {
        if (flights > 0 || !gathered.isEmpty()) {
            throw new IllegalStateException("a checkpoint was taken while examples were under way: they would be lost");
        }
        List<byte[]> pieces = new ArrayList<>();
        long bytes = 0;
        int count = 1;
        for (int i = 0; i < count; i++) {
            Frames.Piece piece = ask(Frames.snapshot(i), Frames::piece, config.frameDeadlineMillis);
            count = piece.count();
            pieces.add(piece.bytes());
            bytes += piece.bytes().length;
        }
        learnt.update(pieces);
        stateBytes = bytes;
        super.snapshotState(context);
    }

    @Override
    public void finish() throws Exception {
        drain();
        super.finish();
    }
}
