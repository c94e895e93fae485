package segue;

import java.time.InstantSource;
import org.apache.flink.api.common.eventtime.Watermark;
import org.apache.flink.api.common.eventtime.WatermarkGenerator;
import org.apache.flink.api.common.eventtime.WatermarkGeneratorSupplier;
import org.apache.flink.api.common.eventtime.WatermarkOutput;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;

/**
 * The watermark of the rules stream, which would otherwise hold the segments' clock at the beginning of time until the first rule set
 * is published, and between any two.
 *
 * <p>In live operation it follows the wall clock, so that once the events are idle the segments' clock still goes on. In a replay it is
 * idle, so that nothing but events moves time.
 */
public class RulesClock implements WatermarkStrategy<byte[]> {
    private static final long serialVersionUID = 1L;

    private final boolean live;
    private final long behindMillis;

    private RulesClock(boolean live, long behindMillis) {
        this.live = live;
        this.behindMillis = behindMillis;
    }

    /** Follows the wall clock, less so many ms, by which events may come out of order. */
    public static RulesClock live(long behindMillis) {
        return new RulesClock(true, behindMillis);
    }

    /** Idle at once and for ever. */
    public static RulesClock replay() {
        return new RulesClock(false, 0);
    }

    @Override
    public WatermarkGenerator<byte[]> createWatermarkGenerator(WatermarkGeneratorSupplier.Context context) {
        return generator(InstantSource.system());
    }

    WatermarkGenerator<byte[]> generator(InstantSource clock) {
        return new WatermarkGenerator<>() {
            @Override
            public void onEvent(byte[] rules, long time, WatermarkOutput output) {
                // A rule set is not an event: it has no part in time.
            }

            @Override
            public void onPeriodicEmit(WatermarkOutput output) {
                if (live) {
                    output.emitWatermark(new Watermark(clock.millis() - behindMillis));
                } else {
                    output.markIdle();
                }
            }
        };
    }
}
