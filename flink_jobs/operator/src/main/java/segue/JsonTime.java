package segue;

import java.nio.charset.StandardCharsets;

/**
 * Skims JSON for a time in a field of the outermost object, without building or checking anything: about a nanosecond a byte.
 *
 * <p>For JSON it finds what a parser would, but for names spelt with escapes and the second of two equal names. For anything else it
 * finds something or nothing, and never reads outside the value.
 */
final class JsonTime {
    /** 2000-01-01. */
    static final long EARLIEST = 946_684_800_000L;
    /** What stands for a time that is not there or cannot be read. */
    static final long NONE = Long.MIN_VALUE;

    /** Numbers below this are seconds. */
    private static final double SECONDS_BELOW = 1e11;

    private final byte[] json;
    private int at;

    JsonTime(byte[] json) {
        this.json = json;
    }

    /** The time in `field`; where that is missing or null in the first of `fallbacks` that is there. In epoch ms, or {@link #NONE}. */
    long find(byte[] field, byte[][] fallbacks) {
        int[] found = new int[fallbacks.length];
        skipSpace();
        if (!take('{')) {
            return NONE;
        }
        while (true) {
            skipSpace();
            if (!take('"')) {
                break;
            }
            int start = at;
            if (!skipString()) {
                break;
            }
            int end = at - 1;
            skipSpace();
            if (!take(':')) {
                break;
            }
            skipSpace();
            if (is(field, start, end) && !isNull()) {
                return timeHere();
            }
            for (int i = 0; i < found.length; i++) {
                if (is(fallbacks[i], start, end) && !isNull()) {
                    found[i] = at;
                }
            }
            if (!skipValue()) {
                break;
            }
            skipSpace();
            if (!take(',')) {
                break;
            }
        }
        for (int position : found) {
            if (position > 0) {
                at = position;
                return timeHere();
            }
        }
        return NONE;
    }

    // ---- skimming ----

    private void skipSpace() {
        while (at < json.length && json[at] <= ' ' && json[at] >= 0) {
            at++;
        }
    }

    private boolean take(char expected) {
        if (at < json.length && json[at] == expected) {
            at++;
            return true;
        }
        return false;
    }

    /** From behind the opening quote to behind the closing one. */
    private boolean skipString() {
        while (at < json.length) {
            byte here = json[at++];
            if (here == '"') {
                return true;
            }
            if (here == '\\') {
                at++;
            }
        }
        return false;
    }

    /** To the comma or brace behind a value. */
    private boolean skipValue() {
        int depth = 0;
        while (at < json.length) {
            switch (json[at]) {
                case '"':
                    at++;
                    if (!skipString()) {
                        return false;
                    }
                    continue;
                case '{':
                case '[':
                    depth++;
                    break;
                case '}':
                case ']':
                    if (depth-- == 0) {
                        return true;
                    }
                    break;
                case ',':
                    if (depth == 0) {
                        return true;
                    }
                    break;
                default:
                    break;
            }
            at++;
        }
        return false;
    }

    private boolean is(byte[] name, int start, int end) {
        if (end - start != name.length) {
            return false;
        }
        for (int i = 0; i < name.length; i++) {
            if (json[start + i] != name[i]) {
                return false;
            }
        }
        return true;
    }

    private boolean isNull() {
        return at < json.length && json[at] == 'n';
    }

    private long timeHere() {
        if (take('"')) {
            int start = at;
            return skipString() ? iso(json, start, at - 1) : NONE;
        }
        int start = at;
        while (at < json.length && isOfNumber(json[at])) {
            at++;
        }
        return number(start, at);
    }

    private static boolean isOfNumber(byte character) {
        return isDigit(character) || character == '-' || character == '+' || character == '.' || character == 'e' || character == 'E';
    }

    // ---- times ----

    /** Epoch ms, or seconds where that would lie before 1973. */
    private long number(int start, int end) {
        if (end == start || end - start > 32) {
            return NONE;
        }
        long whole = 0;
        for (int i = start; i < end; i++) {
            if (!isDigit(json[i]) || end - start > 18) {
                return fraction(start, end);
            }
            whole = whole * 10 + json[i] - '0';
        }
        return whole < SECONDS_BELOW ? whole * 1000 : whole;
    }

    private long fraction(int start, int end) {
        try {
            double number = Double.parseDouble(new String(json, start, end - start, StandardCharsets.US_ASCII));
            return (long) (number < SECONDS_BELOW ? number * 1000 : number);
        } catch (NumberFormatException notANumber) {
            return NONE;
        }
    }

    /**
     * Epoch ms of an ISO 8601 date, or date and time: `2026-01-01T00:00[:00[.000]]` followed by `Z`, an offset, or nothing, which
     * means UTC.
     */
    static long iso(byte[] text, int start, int end) {
        int year = digits(text, start, end, 4);
        int month = digits(text, start + 5, end, 2);
        int day = digits(text, start + 8, end, 2);
        if (year < 1 || month < 1 || month > 12 || day < 1 || text[start + 4] != '-' || text[start + 7] != '-'
                || day > daysIn(year, month)) {
            return NONE;
        }
        long millis = epochDay(year, month, day) * 86_400_000;
        int at = start + 10;
        if (at == end) {
            return millis;
        }
        int hour = digits(text, at + 1, end, 2);
        int minute = digits(text, at + 4, end, 2);
        if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || text[at + 3] != ':'
                || (text[at] != 'T' && text[at] != 't' && text[at] != ' ')) {
            return NONE;
        }
        millis += (hour * 60 + minute) * 60_000L;
        at += 6;
        if (at < end && text[at] == ':') {
            int second = digits(text, at + 1, end, 2);
            if (second < 0 || second > 59) {
                return NONE;
            }
            millis += second * 1000L;
            at += 3;
            if (at < end && (text[at] == '.' || text[at] == ',')) {
                int worth = 100;
                int first = ++at;
                while (at < end && isDigit(text[at])) {
                    millis += (text[at++] - '0') * worth;
                    worth /= 10;
                }
                if (at == first) {
                    return NONE;
                }
            }
        }
        return offset(text, at, end, millis);
    }

    /** Applies what follows the time of day. */
    private static long offset(byte[] text, int at, int end, long millis) {
        if (at == end) {
            return millis;
        }
        byte sign = text[at];
        if (sign == 'Z' || sign == 'z') {
            return at + 1 == end ? millis : NONE;
        }
        int hours = digits(text, at + 1, end, 2);
        if ((sign != '+' && sign != '-') || hours < 0 || hours > 23) {
            return NONE;
        }
        at += 3;
        int minutes = 0;
        if (at < end) {
            at += text[at] == ':' ? 1 : 0;
            minutes = digits(text, at, end, 2);
            at += 2;
        }
        if (minutes < 0 || minutes > 59 || at != end) {
            return NONE;
        }
        long offset = (hours * 60 + minutes) * 60_000L;
        return sign == '+' ? millis - offset : millis + offset;
    }

    /** The number of exactly `count` digits at `from`, or -1. */
    private static int digits(byte[] text, int from, int end, int count) {
        if (from + count > end) {
            return -1;
        }
        int number = 0;
        for (int i = from; i < from + count; i++) {
            if (!isDigit(text[i])) {
                return -1;
            }
            number = number * 10 + text[i] - '0';
        }
        return number;
    }

    private static boolean isDigit(byte character) {
        return character >= '0' && character <= '9';
    }

    private static int daysIn(int year, int month) {
        if (month == 2) {
            return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28;
        }
        return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
    }

    /** Days since 1970-01-01: years that begin in March have their leap day at the end, where it disturbs no count of months. */
    private static long epochDay(int year, int month, int day) {
        int years = month > 2 ? year : year - 1;
        int months = month > 2 ? month - 3 : month + 9;
        return 365L * years + years / 4 - years / 100 + years / 400 + (153 * months + 2) / 5 + day - 1 - 719_468;
    }
}
