package segue;

import java.io.IOException;
import java.util.OptionalLong;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonFactory;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonParser;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonToken;

/** The one thing the operator knows about a rule set: which of two is the newer, by version and stage. */
final class Rules {
    private static final JsonFactory JSON = new JsonFactory();

    private Rules() {}

    /**
     * Version and stage of a rule set as one number: twice its integer `version`, and one more unless segments are `warming`. Empty where
     * there is no version, which is the worker's to complain about.
     */
    static OptionalLong code(byte[] payload) {
        OptionalLong version = OptionalLong.empty();
        boolean warming = false;
        try (JsonParser parser = JSON.createParser(payload)) {
            if (parser.nextToken() != JsonToken.START_OBJECT) {
                return OptionalLong.empty();
            }
            while (parser.nextToken() == JsonToken.FIELD_NAME) {
                String name = parser.currentName();
                JsonToken value = parser.nextToken();
                if (name.equals("version") && value == JsonToken.VALUE_NUMBER_INT) {
                    version = OptionalLong.of(parser.getLongValue());
                } else if (name.equals("warming") && value == JsonToken.START_OBJECT) {
                    warming = parser.nextToken() == JsonToken.FIELD_NAME;
                    skipRest(parser);
                } else {
                    parser.skipChildren();
                }
            }
        } catch (IOException unreadable) {
            return OptionalLong.empty();
        }
        return version.isPresent() ? OptionalLong.of(2 * version.getAsLong() + (warming ? 0 : 1)) : version;
    }

    /** Skips to the end of the object whose first token after its start was just read. */
    private static void skipRest(JsonParser parser) throws IOException {
        while (parser.currentToken() == JsonToken.FIELD_NAME) {
            parser.nextToken();
            parser.skipChildren();
            parser.nextToken();
        }
    }

    /** Whether `candidate` is certainly older than `current`. */
    static boolean isOlder(byte[] candidate, byte[] current) {
        OptionalLong first = code(candidate);
        OptionalLong second = code(current);
        return first.isPresent() && second.isPresent() && first.getAsLong() < second.getAsLong();
    }

    static boolean isWarming(byte[] payload) {
        OptionalLong code = code(payload);
        return code.isPresent() && code.getAsLong() % 2 == 0;
    }

    /** Whether `candidate` is the rule set `current` after it has warmed. */
    static boolean isLiveOf(byte[] current, byte[] candidate) {
        OptionalLong first = code(current);
        OptionalLong second = code(candidate);
        return first.isPresent() && second.isPresent() && first.getAsLong() % 2 == 0 && second.getAsLong() == first.getAsLong() + 1;
    }
}
