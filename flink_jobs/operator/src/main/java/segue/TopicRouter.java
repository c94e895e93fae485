package segue;

import java.nio.charset.StandardCharsets;
import java.util.List;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.flink.types.Row;

/**
 * Sends each output to the topic of its destination, so that one transactional sink writes them all and a checkpoint commits what
 * belongs together. A null value is a tombstone.
 *
 * <p>Records of one of the topics may be signed: a header says which job wrote them, for that job to know them when they come back to it.
 */
public class TopicRouter implements KafkaRecordSerializationSchema<Row> {
    private static final long serialVersionUID = 1L;

    /** The header that names the job which wrote a record. */
    static final String WRITTEN_BY = "segue-job";

    private final String[] topics;
    private String signed;
    private byte[] job;

    /** @param topics the topic of destination 0, of destination 1, and so on */
    public TopicRouter(List<String> topics) {
        this.topics = topics.toArray(new String[0]);
    }

    /**
     * Signs the records of a topic.
     *
     * @param job as {@link ModelRecords} knows it
     */
    public TopicRouter sign(String topic, String job) {
        this.signed = topic;
        this.job = job.getBytes(StandardCharsets.UTF_8);
        return this;
    }

    @Override
    public ProducerRecord<byte[], byte[]> serialize(Row output, KafkaSinkContext context, Long timestamp) {
        int destination = (int) output.getField(0);
        if (destination < 0 || destination >= topics.length) {
            throw new IllegalArgumentException("the worker wrote to destination " + destination + ", but there are only topics for 0 to "
                    + (topics.length - 1) + ": " + String.join(", ", topics));
        }
        String topic = topics[destination];
        ProducerRecord<byte[], byte[]> record =
                new ProducerRecord<>(topic, (byte[]) output.getField(1), (byte[]) output.getField(2));
        if (topic.equals(signed)) {
            record.headers().add(WRITTEN_BY, job);
        }
        return record;
    }
}
