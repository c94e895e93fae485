package segue;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;

class EventTimeOfTest {
    private static final Instant RECORD_TIME = Instant.parse("2026-03-01T12:00:00Z");
    private static final EventTimeOf FUNCTION = new EventTimeOf();

    private static String read(String json) {
        Instant time = FUNCTION.eval(json.getBytes(StandardCharsets.UTF_8), RECORD_TIME, 300_000L);
        return time.equals(Instant.EPOCH) ? "none" : time.toString();
    }

    private static String time(String raw) {
        return read("{\"timestamp\":" + raw + "}");
    }

    @Test
    void isoTimes() {
        assertEquals("2026-02-28T23:59:59.123Z", time("\"2026-02-28T23:59:59.123Z\""));
        assertEquals("2026-02-28T23:59:59.123Z", time("\"2026-02-28T23:59:59.123999\""));
        assertEquals("2026-02-28T23:59:59.100Z", time("\"2026-02-28 23:59:59.1\""));
        assertEquals("2026-02-28T23:59:00Z", time("\"2026-02-28T23:59Z\""));
        assertEquals("2026-02-28T00:00:00Z", time("\"2026-02-28\""));
        assertEquals("2026-02-28T21:29:59Z", time("\"2026-02-28T23:59:59+02:30\""));
        assertEquals("2026-02-28T21:29:59Z", time("\"2026-02-28T23:59:59+0230\""));
        assertEquals("2026-03-01T04:59:59Z", time("\"2026-02-28T23:59:59-05\""));
        assertEquals("2024-02-29T00:00:00Z", time("\"2024-02-29T00:00:00Z\""));
    }

    @Test
    void whatIsNoTime() {
        for (String raw : new String[] {
            "\"\"", "\"now\"", "\"2026\"", "\"2026-02-29T00:00:00Z\"", "\"2026-13-01T00:00:00Z\"", "\"2026-02-28T24:00:00Z\"",
            "\"2026-02-28T23:60:00Z\"", "\"2026-02-28T23:59:60Z\"", "\"2026-02-28T23:59:59.Z\"", "\"2026-02-28T23:59:59Zulu\"",
            "\"2026-02-28T23:59:59+2\"", "\"2026-02-28T23:59:59+02:\"", "\"2026-02-28T\"", "\"2026/02/28\"", "\"2026-02-28T23:59:59", "true",
            "{}", "[1767225600000]", "-5", "1e", "99999999999999999999999999", "1e400", "\"1767225600000\""
        }) {
            assertEquals("none", time(raw), raw);
        }
        for (String json : new String[] {"", " ", "{", "{}", "[]", "null", "{\"timestamp\"", "{\"timestamp\":", "{\"\\", "{\"a\":{", "{\"a\":\"\\"}) {
            assertEquals("none", read(json), json);
        }
        assertEquals(Instant.EPOCH, FUNCTION.eval(null, RECORD_TIME, 0L));
    }

    @Test
    void numbersAreMillisecondsOrSeconds() {
        assertEquals("2026-01-01T00:00:00Z", time("1767225600000"));
        assertEquals("2026-01-01T00:00:00Z", time("1767225600"));
        assertEquals("2026-01-01T00:00:00.250Z", time("1767225600.25"));
        assertEquals("2026-01-01T00:00:00.250Z", time("1767225600250.9"));
        assertEquals("2026-01-01T00:00:00Z", time("1.7672256e12"));
    }

    @Test
    void onlyPlausibleTimesCount() {
        assertEquals("2026-03-01T12:05:00Z", time("\"2026-03-01T12:05:00.000Z\""));
        assertEquals("none", time("\"2026-03-01T12:05:00.001Z\""));
        assertEquals("2000-01-01T00:00:00Z", time("\"2000-01-01T00:00:00Z\""));
        assertEquals("none", time("\"1999-12-31T23:59:59.999Z\""));
    }

    @Test
    void onlyTheOutermostObjectIsAsked() {
        String decoys = "{ \"a\" : {\"timestamp\":1} , \"b\":[{\"timestamp\":1},\"}\"], \"c\":\"\\\"timestamp\\\":1\", \"timestamp \":1,";
        assertEquals("2026-01-01T00:00:00Z", read(decoys + "\"timestamp\" : 1767225600000 }"));
        assertEquals("none", read(decoys + "\"d\":1}"));
    }

    @Test
    void fallbacksAreAskedInOrder() {
        assertEquals("2026-01-01T00:00:00Z", read("{\"time\":1,\"originalTimestamp\":1767225600000}"));
        assertEquals("2026-01-01T00:00:00Z", read("{\"time\":1767225600000,\"timestamp\":null,\"originalTimestamp\":null}"));
        assertEquals("2026-01-01T00:00:00Z", read("{\"originalTimestamp\":1,\"time\":1,\"timestamp\":1767225600000}"));
        // One that is there but cannot be read is the worker's to complain about, not to be papered over.
        assertEquals("none", read("{\"timestamp\":\"soon\",\"time\":1767225600000}"));
    }

    @Test
    void anotherFieldCanBeDeclared() {
        byte[] json = "{\"timestamp\":1,\"at\":1767225600000}".getBytes(StandardCharsets.UTF_8);
        assertEquals("2026-01-01T00:00:00Z", FUNCTION.eval(json, RECORD_TIME, 0L, "at").toString());
        assertEquals(Instant.EPOCH, FUNCTION.eval(json, RECORD_TIME, 0L, "timestamp"));
    }

    @Test
    void agreesWithTheLibraryOnEveryDay() {
        for (long day = 0; day < 365 * 400; day += 17) {
            OffsetDateTime time = OffsetDateTime.of(1970, 1, 1, 13, 14, 15, 16_000_000, ZoneOffset.UTC).plusDays(day);
            byte[] text = time.toString().getBytes(StandardCharsets.US_ASCII);
            assertEquals(time.toInstant().toEpochMilli(), JsonTime.iso(text, 0, text.length), time.toString());
        }
    }

    @Test
    void noBytesMakeItThrow() {
        Random random = new Random(3);
        byte[] good = "{\"type\":\"track\",\"a\":{\"b\":[1,\"\\u0041\"]},\"timestamp\":\"2026-02-28T23:59:59.123+01:00\",\"time\":1.5e9}"
                .getBytes(StandardCharsets.UTF_8);
        for (int round = 0; round < 200_000; round++) {
            byte[] bytes = Arrays.copyOf(good, random.nextInt(good.length + 1));
            for (int i = random.nextInt(4); i > 0 && bytes.length > 0; i--) {
                bytes[random.nextInt(bytes.length)] = (byte) random.nextInt();
            }
            FUNCTION.eval(bytes, RECORD_TIME, 0L);
        }
    }
}
