package segue;

import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.typeinfo.PrimitiveArrayTypeInfo;
import org.apache.flink.api.common.typeinfo.TypeInformation;

/** A record's value as it is, for the rules topic, or marked as one of the control topic; a tombstone is passed over. */
public class RawBytes implements DeserializationSchema<byte[]> {
    private static final long serialVersionUID = 1L;

    private final boolean control;

    public RawBytes() {
        this(false);
    }

    private RawBytes(boolean control) {
        this.control = control;
    }

    /** For the control topic: whoever may write to that one alone shall not be able to publish rules. */
    public static RawBytes control() {
        return new RawBytes(true);
    }

    @Override
    public byte[] deserialize(byte[] value) {
        return control && value != null ? ControlRecord.marked(value) : value;
    }

    @Override
    public boolean isEndOfStream(byte[] value) {
        return false;
    }

    @Override
    public TypeInformation<byte[]> getProducedType() {
        return PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO;
    }
}
