package segue;

import org.apache.flink.api.java.functions.KeySelector;
import org.apache.flink.types.Row;

/** The customer of a record as {@link ReadRecord} found it: what the stream is keyed by. */
public final class CustomerKey implements KeySelector<Row, String> {
    private static final long serialVersionUID = 1L;

    @Override
    public String getKey(Row record) {
        return (String) record.getField(0);
    }
}
