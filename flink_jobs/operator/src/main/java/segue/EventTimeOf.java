package segue;

import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.Objects;
import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.functions.ScalarFunction;

/**
 * The event time in a JSON value, for the watermark alone: `EVENT_TIME_OF(value, record_time, skew in ms[, field])`.
 *
 * <p>A value in which no time can be read, or one before 2000, or from further in the future than the skew allows, gives 1970, which
 * never moves a watermark. So one record with a broken clock cannot make all others late. The worker reads the time again and is the
 * judge of a record; here it is only skimmed for, because this runs for every record in the source.
 */
public class EventTimeOf extends ScalarFunction {
    private static final long serialVersionUID = 1L;

    private static final byte[] TIMESTAMP = name("timestamp");
    private static final byte[][] FALLBACKS = {name("originalTimestamp"), name("time")};

    /** The field asked for last: it is a literal, the same for all records of a query. */
    private transient String field;
    private transient byte[] fieldName;

    public @DataTypeHint("TIMESTAMP_LTZ(3) NOT NULL") Instant eval(
            @DataTypeHint("BYTES") byte[] value, @DataTypeHint("TIMESTAMP_LTZ(3)") Instant recordTime, Long skewMillis) {
        return Instant.ofEpochMilli(read(value, recordTime, skewMillis, TIMESTAMP));
    }

    public @DataTypeHint("TIMESTAMP_LTZ(3) NOT NULL") Instant eval(
            @DataTypeHint("BYTES") byte[] value, @DataTypeHint("TIMESTAMP_LTZ(3)") Instant recordTime, Long skewMillis, String field) {
        if (!Objects.equals(field, this.field)) {
            this.field = field;
            this.fieldName = field == null ? null : name(field);
        }
        return Instant.ofEpochMilli(read(value, recordTime, skewMillis, fieldName == null ? TIMESTAMP : fieldName));
    }

    private static byte[] name(String field) {
        return field.getBytes(StandardCharsets.UTF_8);
    }

    private static long read(byte[] value, Instant recordTime, Long skewMillis, byte[] field) {
        if (value == null) {
            return 0;
        }
        long time = new JsonTime(value).find(field, FALLBACKS);
        long latest = recordTime == null || skewMillis == null ? Long.MAX_VALUE : recordTime.toEpochMilli() + skewMillis;
        return time < JsonTime.EARLIEST || time > latest ? 0 : time;
    }
}
