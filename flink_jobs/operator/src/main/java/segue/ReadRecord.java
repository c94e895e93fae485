package segue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.Arrays;
import org.apache.flink.api.common.functions.MapFunction;
import org.apache.flink.api.common.typeinfo.PrimitiveArrayTypeInfo;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonFactory;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonParser;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonToken;
import org.apache.flink.types.Row;

/**
 * Who a record is about and how large it is; no more of it is read here. Nothing is dropped: what names nobody goes to the customer
 * "", what is too long goes on cut short, and the worker accounts for both.
 *
 * <p>In: key, value, record time, partition, offset (more columns are ignored). Out: customer, value, record time in epoch ms,
 * partition, offset, full size, key where it is not the customer.
 */
public class ReadRecord implements MapFunction<Row, Row> {
    private static final long serialVersionUID = 1L;

    /** Of a record that is too long this much goes on, to be shown to whoever looks into it. */
    static final int KEPT_OF_TOO_LONG = 1024;

    private static final JsonFactory JSON = new JsonFactory();

    private final String[] path;
    private final int maxRecordBytes;

    /**
     * @param customerField the (dotted) field of the value that names the customer, or null for the record's key
     * @param maxRecordBytes values longer than this are cut
     */
    public ReadRecord(String customerField, int maxRecordBytes) {
        if (maxRecordBytes < 1) {
            throw new IllegalArgumentException("the longest record must have at least 1 byte, not " + maxRecordBytes);
        }
        this.path = customerField == null ? null : customerField.split("\\.", -1);
        this.maxRecordBytes = maxRecordBytes;
    }

    /** The rows that come out. */
    public static TypeInformation<Row> outputType() {
        TypeInformation<byte[]> bytes = PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO;
        return Types.ROW_NAMED(
                new String[] {"customer", "value", "time", "partition", "offset", "size", "key"},
                Types.STRING, bytes, Types.LONG, Types.INT, Types.LONG, Types.INT, bytes);
    }

    @Override
    public Row map(Row record) {
        byte[] key = (byte[]) record.getField(0);
        byte[] value = (byte[]) record.getField(1);
        Instant time = (Instant) record.getField(2);
        int size = value == null ? 0 : value.length;
        boolean whole = size <= maxRecordBytes;
        String customer;
        if (path == null) {
            customer = CustomerText.of(key);
        } else {
            customer = whole && value != null ? CustomerText.of(field(value)) : CustomerText.NOBODY;
        }
        Row read = new Row(7);
        read.setField(0, customer);
        read.setField(1, whole ? value : Arrays.copyOf(value, Math.min(KEPT_OF_TOO_LONG, maxRecordBytes)));
        read.setField(2, time.toEpochMilli());
        read.setField(3, record.getField(3));
        read.setField(4, record.getField(4));
        read.setField(5, size);
        read.setField(6, key == null || says(key, customer) ? null : key);
        return read;
    }

    /** The text at the path; "" where there is none or the value is no JSON up to there. Whether the rest is any is not asked. */
    private String field(byte[] value) {
        try (JsonParser parser = JSON.createParser(value)) {
            if (parser.nextToken() != JsonToken.START_OBJECT) {
                return "";
            }
            int depth = 0;
            while (parser.nextToken() == JsonToken.FIELD_NAME) {
                boolean onPath = parser.currentName().equals(path[depth]);
                JsonToken token = parser.nextToken();
                if (!onPath) {
                    parser.skipChildren();
                } else if (depth < path.length - 1) {
                    if (token != JsonToken.START_OBJECT) {
                        return "";
                    }
                    depth++;
                } else {
                    boolean text = token == JsonToken.VALUE_STRING || token.isNumeric();
                    return text ? parser.getText() : "";
                }
            }
        } catch (IOException notJson) {
            // Said by the empty answer; the worker finds out what is wrong with it.
        }
        return "";
    }

    private static boolean says(byte[] key, String customer) {
        if (key.length < customer.length()) {
            return false;
        }
        return Arrays.equals(key, customer.getBytes(StandardCharsets.UTF_8));
    }
}
