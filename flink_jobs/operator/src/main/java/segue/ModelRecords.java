package segue;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.apache.flink.api.common.typeinfo.PrimitiveArrayTypeInfo;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.header.Header;
import org.apache.flink.util.Collector;

/** Records of the topic of models as elements of the rules stream; one that was deleted is told of by its key. */
public class ModelRecords implements KafkaRecordDeserializationSchema<byte[]> {
    private static final long serialVersionUID = 1L;

    private final byte[] job;

    /** @param job the job that this is part of, as {@link TopicRouter} signs what it writes */
    public ModelRecords(String job) {
        this.job = job.getBytes(StandardCharsets.UTF_8);
    }

    @Override
    public void deserialize(ConsumerRecord<byte[], byte[]> record, Collector<byte[]> out) {
        Header writer = record.headers().lastHeader(TopicRouter.WRITTEN_BY);
        boolean isOwn = writer != null && Arrays.equals(writer.value(), job);
        byte[] element = ModelRecord.element(record.key(), record.value(), isOwn);
        if (element != null) {
            out.collect(element);
        }
    }

    @Override
    public TypeInformation<byte[]> getProducedType() {
        return PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO;
    }
}
