package segue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.flink.types.Row;
import org.msgpack.core.MessageBufferPacker;
import org.msgpack.core.MessagePack;
import org.msgpack.core.MessageUnpacker;

/** The frames between the operator and its worker, as bytes. docs/architecture.md holds their layout. */
final class Frames {
    private static final int HELLO = 0;
    private static final int RULES = 1;
    private static final int BATCH = 2;
    private static final int MODEL = 3;
    static final int EXAMPLES = 4;
    private static final int WATERMARK = 5;
    private static final int SNAPSHOT = 6;
    static final int RESTORE = 7;
    private static final int PROTOCOL_VERSION = 2;

    private Frames() {}

    /** What the worker says to a rule set. */
    record RulesReply(boolean accepted, String detail, List<Row> outputs, Map<String, Long> counters) {}

    /**
     * What the worker says to a batch.
     *
     * @param states for each group null for unchanged, else a new array in the layout of {@link Stored} whose timer is still to be set;
     *     without a profile where the customer's is to be removed
     * @param timers for each group the next moment wanted
     */
    record BatchReply(byte[][] states, long[] timers, List<Row> outputs, Map<String, Long> counters) {}

    /** What the worker has to say otherwise; `isBehind`: the same watermark is to be said again. */
    record Told(List<Row> outputs, Map<String, Long> counters, boolean isBehind) {}

    /**
     * What the worker says to a version of a model.
     *
     * @param held the version of that candidate by which customers are scored now; 0 for none
     */
    record Adopted(long held, Told told) {}

    /** One of so many pieces of the worker's state. */
    record Piece(int count, byte[] bytes) {}

    static byte[] hello(int subtask, int parallelism, String settings) throws IOException {
        try (MessageBufferPacker packer = MessagePack.newDefaultBufferPacker()) {
            packer.packArrayHeader(5).packInt(HELLO).packInt(PROTOCOL_VERSION).packInt(subtask).packInt(parallelism);
            packBinary(packer, settings.getBytes(StandardCharsets.UTF_8), 0);
            return packer.toByteArray();
        }
    }

    static byte[] rules(byte[] payload) throws IOException {
        try (MessageBufferPacker packer = MessagePack.newDefaultBufferPacker()) {
            packer.packArrayHeader(2).packInt(RULES);
            packBinary(packer, payload, 0);
            return packer.toByteArray();
        }
    }

    static byte[] batch(long watermark, List<Arrival.Group> groups) throws IOException {
        try (MessageBufferPacker packer = MessagePack.newDefaultBufferPacker()) {
            packer.packArrayHeader(3).packInt(BATCH).packLong(watermark).packArrayHeader(groups.size());
            for (Arrival.Group group : groups) {
                packer.packArrayHeader(3);
                byte[] customer = group.customerBytes();
                packer.packRawStringHeader(customer.length).writePayload(customer);
                packBinary(packer, Stored.hasProfile(group.stored) ? group.stored : null, Stored.PREFIX);
                packer.packArrayHeader(group.arrivals.size());
                for (Arrival arrival : group.arrivals) {
                    packer.packArrayHeader(6);
                    packBinary(packer, arrival.value(), 0);
                    packer.packLong(arrival.time()).packInt(arrival.partition()).packLong(arrival.offset()).packInt(arrival.size());
                    packBinary(packer, arrival.key(), 0);
                }
            }
            return packer.toByteArray();
        }
    }

    /**
     * @param from where the record begins in `bytes`
     * @param now the worker is to have it before it answers
     */
    static byte[] model(byte[] bytes, int from, boolean now) throws IOException {
        try (MessageBufferPacker packer = MessagePack.newDefaultBufferPacker()) {
            packer.packArrayHeader(3).packInt(MODEL);
            packBinary(packer, bytes, from);
            packer.packBoolean(now);
            return packer.toByteArray();
        }
    }

    static byte[] examples(List<byte[]> examples) throws IOException {
        try (MessageBufferPacker packer = MessagePack.newDefaultBufferPacker()) {
            packer.packArrayHeader(2).packInt(EXAMPLES).packArrayHeader(examples.size());
            for (byte[] example : examples) {
                packBinary(packer, example, 0);
            }
            return packer.toByteArray();
        }
    }

    static byte[] watermark(long time) throws IOException {
        try (MessageBufferPacker packer = MessagePack.newDefaultBufferPacker()) {
            packer.packArrayHeader(2).packInt(WATERMARK).packLong(time);
            return packer.toByteArray();
        }
    }

    static byte[] snapshot(int piece) throws IOException {
        try (MessageBufferPacker packer = MessagePack.newDefaultBufferPacker()) {
            packer.packArrayHeader(2).packInt(SNAPSHOT).packInt(piece);
            return packer.toByteArray();
        }
    }

    static byte[] restore(int piece, int count, byte[] bytes) throws IOException {
        try (MessageBufferPacker packer = MessagePack.newDefaultBufferPacker()) {
            packer.packArrayHeader(4).packInt(RESTORE).packInt(piece).packInt(count);
            packBinary(packer, bytes, 0);
            return packer.toByteArray();
        }
    }

    private static void packBinary(MessageBufferPacker packer, byte[] bytes, int from) throws IOException {
        if (bytes == null) {
            packer.packNil();
        } else {
            packer.packBinaryHeader(bytes.length - from).writePayload(bytes, from, bytes.length - from);
        }
    }

    static String helloReply(byte[] frame) throws IOException {
        try (Reader reader = new Reader(frame)) {
            reader.start(HELLO, 2);
            String description = reader.unpacker.unpackString();
            reader.end();
            return description;
        }
    }

    static RulesReply rulesReply(byte[] frame) throws IOException {
        try (Reader reader = new Reader(frame)) {
            reader.start(RULES, 5);
            boolean accepted = reader.unpacker.unpackBoolean();
            String detail = reader.unpacker.unpackString();
            RulesReply reply = new RulesReply(accepted, detail, reader.outputs(), reader.counters());
            reader.end();
            return reply;
        }
    }

    static BatchReply batchReply(byte[] frame, int groups) throws IOException {
        try (Reader reader = new Reader(frame)) {
            reader.start(BATCH, 4);
            reader.exactly(reader.array(), groups, "results");
            byte[][] states = new byte[groups][];
            long[] timers = new long[groups];
            for (int i = 0; i < groups; i++) {
                reader.exactly(reader.array(), 2, "parts of a result");
                states[i] = reader.binary(Stored.PREFIX);
                timers[i] = reader.unpacker.unpackLong();
            }
            BatchReply reply = new BatchReply(states, timers, reader.outputs(), reader.counters());
            reader.end();
            return reply;
        }
    }

    /** The answer to a frame of this kind that only has outputs and counters. */
    static Told told(int kind, byte[] frame) throws IOException {
        try (Reader reader = new Reader(frame)) {
            reader.start(kind, 3);
            Told told = new Told(reader.outputs(), reader.counters(), false);
            reader.end();
            return told;
        }
    }

    static Adopted adopted(byte[] frame) throws IOException {
        try (Reader reader = new Reader(frame)) {
            reader.start(MODEL, 4);
            long held = reader.unpacker.unpackLong();
            Told told = new Told(reader.outputs(), reader.counters(), false);
            reader.end();
            return new Adopted(held, told);
        }
    }

    static Told passed(byte[] frame) throws IOException {
        try (Reader reader = new Reader(frame)) {
            reader.start(WATERMARK, 4);
            boolean behind = reader.unpacker.unpackBoolean();
            Told told = new Told(reader.outputs(), reader.counters(), behind);
            reader.end();
            return told;
        }
    }

    static Piece piece(byte[] frame) throws IOException {
        try (Reader reader = new Reader(frame)) {
            reader.start(SNAPSHOT, 3);
            int count = reader.unpacker.unpackInt();
            byte[] bytes = reader.binary(0);
            if (count < 1 || bytes == null) {
                throw new IOException("the worker's state has no pieces");
            }
            reader.end();
            return new Piece(count, bytes);
        }
    }

    /** Reads an answer; no length in it is believed before it is known to fit into what is left of the frame. */
    private static final class Reader implements AutoCloseable {
        private final int length;
        final MessageUnpacker unpacker;

        Reader(byte[] frame) {
            length = frame.length;
            unpacker = MessagePack.newDefaultUnpacker(frame);
        }

        void start(int kind, int parts) throws IOException {
            exactly(array(), parts, "parts of an answer");
            int found = unpacker.unpackInt();
            if (found != kind) {
                throw new IOException("expected an answer of kind " + kind + ", found " + found);
            }
        }

        int array() throws IOException {
            return bounded(unpacker.unpackArrayHeader());
        }

        void exactly(int found, int expected, String what) throws IOException {
            if (found != expected) {
                throw new IOException("expected " + expected + " " + what + ", found " + found);
            }
        }

        /** The bytes behind `prefix` zero bytes, or null. */
        byte[] binary(int prefix) throws IOException {
            if (unpacker.tryUnpackNil()) {
                return null;
            }
            int size = bounded(unpacker.unpackBinaryHeader());
            byte[] bytes = new byte[prefix + size];
            unpacker.readPayload(bytes, prefix, size);
            return bytes;
        }

        List<Row> outputs() throws IOException {
            int count = array();
            List<Row> outputs = new ArrayList<>(count);
            for (int i = 0; i < count; i++) {
                exactly(array(), 3, "parts of an output");
                outputs.add(Row.of(unpacker.unpackInt(), binary(0), binary(0)));
            }
            return outputs;
        }

        Map<String, Long> counters() throws IOException {
            int count = bounded(unpacker.unpackMapHeader());
            Map<String, Long> counters = new LinkedHashMap<>();
            for (int i = 0; i < count; i++) {
                counters.put(unpacker.unpackString(), unpacker.unpackLong());
            }
            return counters;
        }

        void end() throws IOException {
            if (unpacker.getTotalReadBytes() != length) {
                throw new IOException("the answer ends " + (length - unpacker.getTotalReadBytes()) + " bytes before its frame");
            }
        }

        private int bounded(int size) throws IOException {
            if (size < 0 || size > length - unpacker.getTotalReadBytes()) {
                throw new IOException("a length of " + size + " does not fit into the frame");
            }
            return size;
        }

        @Override
        public void close() throws IOException {
            unpacker.close();
        }
    }
}
