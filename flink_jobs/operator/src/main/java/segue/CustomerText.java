package segue;

import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;

/** What may name a customer: text without control characters, 1 to 512 characters long after trimming. All else is nobody: "". */
final class CustomerText {
    static final String NOBODY = "";
    private static final int LONGEST = 512;

    private CustomerText() {}

    /** The customer a record key names; the key must be strict UTF-8. */
    static String of(byte[] key) {
        // A character takes at most 4 bytes; the factor leaves room for white space around them without decoding a megabyte.
        if (key == null || key.length == 0 || key.length > 4 * LONGEST * 2) {
            return NOBODY;
        }
        if (isPlain(key)) {
            return key.length <= LONGEST ? new String(key, StandardCharsets.ISO_8859_1) : NOBODY;
        }
        try {
            return of(StandardCharsets.UTF_8.newDecoder()
                    .onMalformedInput(CodingErrorAction.REPORT)
                    .onUnmappableCharacter(CodingErrorAction.REPORT)
                    .decode(ByteBuffer.wrap(key))
                    .toString());
        } catch (CharacterCodingException notUtf8) {
            return NOBODY;
        }
    }

    /** The customer that a text names. */
    static String of(String text) {
        int start = 0;
        int end = text.length();
        while (start < end && isSpace(text.charAt(start))) {
            start++;
        }
        while (end > start && isSpace(text.charAt(end - 1))) {
            end--;
        }
        String trimmed = text.substring(start, end);
        int length = trimmed.codePointCount(0, trimmed.length());
        if (length == 0 || length > LONGEST) {
            return NOBODY;
        }
        for (int i = 0; i < trimmed.length(); ) {
            int character = trimmed.codePointAt(i);
            // Half a surrogate pair (a JSON escape can spell one) has no UTF-8.
            if (Character.isISOControl(character) || Character.getType(character) == Character.SURROGATE) {
                return NOBODY;
            }
            i += Character.charCount(character);
        }
        return trimmed;
    }

    /** Nothing but visible ASCII: by far the most keys, and no decoding needed. */
    private static boolean isPlain(byte[] key) {
        for (byte each : key) {
            if (each <= ' ' || each == 0x7f) {
                return false;
            }
        }
        return true;
    }

    /** White space as Python's `str.strip` sees it, so that both sides trim alike. */
    private static boolean isSpace(char character) {
        return Character.isWhitespace(character) || Character.isSpaceChar(character) || character == '\u0085';
    }
}
