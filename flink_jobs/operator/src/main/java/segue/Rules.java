package segue;

import java.io.IOException;
import java.util.OptionalLong;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonFactory;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonParser;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonToken;

/** The one thing the operator knows about a rule set: which of two is the newer. */
final class Rules {
    private static final JsonFactory JSON = new JsonFactory();

    private Rules() {}

    /** The integer `version` of a rule set; empty where there is none, which is the worker's to complain about. */
    static OptionalLong version(byte[] payload) {
        try (JsonParser parser = JSON.createParser(payload)) {
            if (parser.nextToken() != JsonToken.START_OBJECT) {
                return OptionalLong.empty();
            }
            while (parser.nextToken() == JsonToken.FIELD_NAME) {
                boolean found = parser.currentName().equals("version");
                JsonToken value = parser.nextToken();
                if (found) {
                    return value == JsonToken.VALUE_NUMBER_INT ? OptionalLong.of(parser.getLongValue()) : OptionalLong.empty();
                }
                parser.skipChildren();
            }
        } catch (IOException unreadable) {
            // Said by the empty answer.
        }
        return OptionalLong.empty();
    }

    /** Whether `candidate` is certainly older than `current`. */
    static boolean isOlder(byte[] candidate, byte[] current) {
        OptionalLong first = version(candidate);
        OptionalLong second = version(current);
        return first.isPresent() && second.isPresent() && first.getAsLong() < second.getAsLong();
    }
}
