package segue;

import java.util.List;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.flink.types.Row;

/**
 * Sends each output to the topic of its destination, so that one transactional sink writes them all and a checkpoint commits what
 * belongs together. A null value is a tombstone.
 */
public class TopicRouter implements KafkaRecordSerializationSchema<Row> {
    private static final long serialVersionUID = 1L;

    private final String[] topics;

    /** @param topics the topic of destination 0, of destination 1, and so on */
    public TopicRouter(List<String> topics) {
        this.topics = topics.toArray(new String[0]);
    }

    @Override
    public ProducerRecord<byte[], byte[]> serialize(Row output, KafkaSinkContext context, Long timestamp) {
        int destination = (int) output.getField(0);
        if (destination < 0 || destination >= topics.length) {
            throw new IllegalArgumentException("the worker wrote to destination " + destination + ", but there are only topics for 0 to "
                    + (topics.length - 1) + ": " + String.join(", ", topics));
        }
        return new ProducerRecord<>(topics[destination], (byte[]) output.getField(1), (byte[]) output.getField(2));
    }
}
