package segue;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import java.nio.charset.StandardCharsets;
import java.time.Instant;
import org.apache.flink.types.Row;
import org.junit.jupiter.api.Test;

class ReadRecordTest {
    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static Row read(String field, byte[] key, byte[] value) {
        // The event time is the last column of the table, and of no interest here.
        return new ReadRecord(field, 2000).map(Row.of(key, value, Instant.ofEpochMilli(1500), 3, 77L, Instant.EPOCH));
    }

    private static String customer(byte[] key) {
        return (String) read(null, key, bytes("{}")).getField(0);
    }

    private static String customerIn(String field, String value) {
        return (String) read(field, bytes("key"), bytes(value)).getField(0);
    }

    @Test
    void theKeyNamesTheCustomer() {
        Row row = read(null, bytes("c1"), bytes("{}"));
        assertEquals("c1", row.getField(0));
        assertArrayEquals(bytes("{}"), (byte[]) row.getField(1));
        assertEquals(1500L, row.getField(2));
        assertEquals(3, row.getField(3));
        assertEquals(77L, row.getField(4));
        assertEquals(2, row.getField(5));
        assertNull(row.getField(6));
        assertEquals(7, row.getArity());
    }

    @Test
    void aTrimmedKeyIsKept() {
        Row row = read(null, bytes(" c1\u00a0\n"), bytes("{}"));
        assertEquals("c1", row.getField(0));
        assertArrayEquals(bytes(" c1\u00a0\n"), (byte[]) row.getField(6));
    }

    @Test
    void whatNamesNobody() {
        assertEquals("", customer(null));
        assertEquals("", customer(new byte[0]));
        assertEquals("", customer(bytes(" \t")));
        assertEquals("", customer(bytes("a\u0000b")));
        assertEquals("", customer(bytes("a\u0085b")));
        assertEquals("", customer(new byte[] {'a', (byte) 0xff}));
        // A surrogate written as three bytes, and a NUL as two: what lenient decoders let through.
        assertEquals("", customer(new byte[] {(byte) 0xed, (byte) 0xa0, (byte) 0x80}));
        assertEquals("", customer(new byte[] {(byte) 0xc0, (byte) 0x80}));
        assertEquals("x".repeat(512), customer(bytes("x".repeat(512))));
        assertEquals("", customer(bytes("x".repeat(513))));
        // Characters count, not bytes: these take four each.
        assertEquals("\ud83d\ude00".repeat(512), customer(bytes("\ud83d\ude00".repeat(512))));
        assertEquals("", customer(bytes("\ud83d\ude00".repeat(513))));
        assertEquals("Zo\u00eb M", customer(bytes("Zo\u00eb M")));
    }

    @Test
    void aKeyThatNamesNobodyIsKept() {
        assertArrayEquals(new byte[] {(byte) 0xff}, (byte[]) read(null, new byte[] {(byte) 0xff}, bytes("{}")).getField(6));
        assertNull(read(null, new byte[0], bytes("{}")).getField(6));
    }

    @Test
    void aFieldNamesTheCustomer() {
        assertEquals("u1", customerIn("userId", "{\"a\":{\"userId\":\"no\"},\"b\":[{\"userId\":1}],\"userId\":\" u1 \"}"));
        assertEquals("17", customerIn("userId", "{\"userId\": 17}"));
        assertEquals("x\u00ff", customerIn("user.id", "{\"user\":{\"name\":[],\"id\":\"x\\u00ff\"}}"));
        for (String nobody : new String[] {
            "{}", "[]", "", "nonsense", "{\"userId\":null}", "{\"userId\":true}", "{\"userId\":{\"userId\":\"x\"}}", "{\"userId\":\"\"}",
            "{\"userId\":\"\\ud800\"}", "{\"userId\":\"a", "{\"user\":", "\"userId\""
        }) {
            assertEquals("", customerIn("userId", nobody), nobody);
        }
        assertEquals("", customerIn("user.id", "{\"user\":\"id\"}"));
        assertEquals("", customerIn("user.id", "{\"user\":{},\"id\":\"x\"}"));
        Row row = read("userId", bytes("other"), bytes("{\"userId\":\"u1\"}"));
        assertArrayEquals(bytes("other"), (byte[]) row.getField(6));
        assertNull(read("userId", bytes("u1"), bytes("{\"userId\":\"u1\"}")).getField(6));
        assertEquals("", read("userId", bytes("u1"), null).getField(0));
    }

    @Test
    void aTooLongValueIsCut() {
        byte[] fits = bytes("{\"userId\":\"u1\",\"x\":\"" + "x".repeat(1978) + "\"}");
        assertEquals(2000, fits.length);
        assertEquals(2000, ((byte[]) read("userId", null, fits).getField(1)).length);
        assertEquals("u1", read("userId", null, fits).getField(0));

        byte[] tooLong = bytes("{\"userId\":\"u1\",\"x\":\"" + "x".repeat(1979) + "\"}");
        Row cut = read("userId", null, tooLong);
        assertEquals("", cut.getField(0));
        assertEquals(1024, ((byte[]) cut.getField(1)).length);
        assertEquals(2001, cut.getField(5));
        assertEquals("c", read(null, bytes("c"), tooLong).getField(0));
    }

    @Test
    void aTombstoneStaysOne() {
        Row row = read(null, bytes("c1"), null);
        assertNull(row.getField(1));
        assertEquals(0, row.getField(5));
    }
}
