package segue;

import java.time.Instant;
import org.apache.flink.streaming.api.operators.AbstractStreamOperator;
import org.apache.flink.streaming.api.operators.OneInputStreamOperator;
import org.apache.flink.streaming.api.watermark.Watermark;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import org.apache.flink.streaming.runtime.watermarkstatus.WatermarkStatus;
import org.apache.flink.types.Row;

/**
 * Brings the time of a bounded input to its end: the newest event's time, less the disorder.
 *
 * <p>A source tells of time now and then by the wall clock, and forgets to when it ends. So how far the segments' clock gets, and with
 * it which of the last timers fire, would be a matter of chance. Here each subtask says at its end how far its own events went, and then
 * stands aside (instead of claiming that all time has passed): once all of them do, the clock stands at the furthest of them.
 */
public class LastWatermark extends AbstractStreamOperator<Row> implements OneInputStreamOperator<Row, Row> {
    private static final long serialVersionUID = 1L;

    private final int timeField;
    private final long behindMillis;

    private transient long newest;
    private transient long told;

    /**
     * @param timeField the column that holds the event's time as an {@link Instant}
     * @param behindMillis by how much the watermark is behind the newest event
     */
    public LastWatermark(int timeField, long behindMillis) {
        this.timeField = timeField;
        this.behindMillis = behindMillis;
    }

    @Override
    public void open() throws Exception {
        super.open();
        newest = told = Long.MIN_VALUE;
    }

    @Override
    public void processElement(StreamRecord<Row> element) {
        Instant time = (Instant) element.getValue().getField(timeField);
        newest = Math.max(newest, time.toEpochMilli());
        output.collect(element);
    }

    @Override
    public void processWatermark(Watermark mark) throws Exception {
        if (mark.getTimestamp() < Long.MAX_VALUE) {
            told = mark.getTimestamp();
            super.processWatermark(mark);
            return;
        }
        if (newest != Long.MIN_VALUE && newest - behindMillis > told) {
            super.processWatermark(new Watermark(newest - behindMillis));
        }
        super.processWatermarkStatus(WatermarkStatus.IDLE);
    }
}
