package segue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Optional;
import org.msgpack.core.MessagePack;
import org.msgpack.core.MessagePackException;
import org.msgpack.core.MessageUnpacker;

/**
 * What the operator needs to know of a record of the topic of models: which version of which candidate it holds. It stands in a msgpack
 * header, `[model, candidate, version, role, origin]`, in front of the rest (`flink_jobs/model_records.py`).
 *
 * @param element the record as it travels between the source and the operator: marked, then its value; of one that was deleted its key
 * @param isDeleted this version is not kept any more
 * @param isOwn it was this very job that published the version
 */
record ModelRecord(String model, String candidate, long version, byte[] element, boolean isDeleted, boolean isOwn) {
    /** None is the beginning of JSON or msgpack that we write, nor {@link ControlRecord}'s mark. */
    private static final byte MARK = (byte) 0xfe;
    private static final byte DELETED = (byte) 0xfd;
    private static final byte OWN = (byte) 0xfc;

    private static final int LONGEST_NAME = 200;
    private static final int HEADER = 5;

    /** A record of the topic as an element of the rules stream; null where it has no key and no value. */
    static byte[] element(byte[] key, byte[] value, boolean isOwn) {
        byte[] told = value == null ? key : value;
        if (told == null) {
            return null;
        }
        byte[] element = new byte[told.length + 1];
        element[0] = value == null ? DELETED : isOwn ? OWN : MARK;
        System.arraycopy(told, 0, element, 1, told.length);
        return element;
    }

    static boolean isOne(byte[] element) {
        return element.length > 0 && (element[0] == MARK || element[0] == DELETED || element[0] == OWN);
    }

    /** The record in an element; empty where it is none, or too long for a frame. */
    static Optional<ModelRecord> read(byte[] element, int mostBytes) {
        if (element.length > mostBytes) {
            return Optional.empty();
        }
        return element[0] == DELETED ? deleted(element) : published(element);
    }

    private static Optional<ModelRecord> published(byte[] element) {
        try (MessageUnpacker unpacker = MessagePack.newDefaultUnpacker(element, 1, element.length - 1)) {
            if (unpacker.unpackArrayHeader() != HEADER) {
                return Optional.empty();
            }
            return checked(unpacker.unpackString(), unpacker.unpackString(), unpacker.unpackLong(), element);
        } catch (IOException | MessagePackException malformed) {
            return Optional.empty();
        }
    }

    private static Optional<ModelRecord> deleted(byte[] element) {
        String[] parts = new String(element, 1, element.length - 1, StandardCharsets.UTF_8).split("/", -1);
        try {
            return parts.length == 3 ? checked(parts[0], parts[1], Long.parseLong(parts[2]), element) : Optional.empty();
        } catch (NumberFormatException malformed) {
            return Optional.empty();
        }
    }

    private static Optional<ModelRecord> checked(String model, String candidate, long version, byte[] element) {
        if (!isName(model) || !isName(candidate) || version <= 0) {
            return Optional.empty();
        }
        return Optional.of(new ModelRecord(model, candidate, version, element, element[0] == DELETED, element[0] == OWN));
    }

    private static boolean isName(String text) {
        return !text.isEmpty() && text.length() <= LONGEST_NAME && text.indexOf('/') < 0;
    }

    /** Of the versions with the same one the newest is kept. */
    String key() {
        return model + "/" + candidate;
    }
}
