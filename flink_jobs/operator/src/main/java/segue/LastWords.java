package segue;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import org.slf4j.Logger;

/** Reads a worker's stderr to its end: each line goes to the log, and the end of it all is kept for the message should it die. */
final class LastWords {
    static final int KEPT_BYTES = 8192;
    private static final int LONGEST_LINE = 4096;

    /** On a busy machine the reader may be a while behind a death. Longer is not waited: what the worker has started may hold its stderr open. */
    private static final long PATIENCE_MILLIS = 5000;

    private final byte[] ring = new byte[KEPT_BYTES];
    private long written;
    private final Thread thread;

    LastWords(InputStream stderr, String name, Logger log) {
        thread = new Thread(() -> read(stderr, name, log), name + "-stderr");
        thread.setDaemon(true);
        thread.start();
    }

    private void read(InputStream stderr, String name, Logger log) {
        byte[] chunk = new byte[4096];
        byte[] line = new byte[LONGEST_LINE];
        int length = 0;
        try (stderr) {
            for (int count; (count = stderr.read(chunk)) >= 0; ) {
                keep(chunk, count);
                for (int i = 0; i < count; i++) {
                    if (chunk[i] != '\n') {
                        line[length++] = chunk[i];
                    }
                    if (chunk[i] == '\n' || length == LONGEST_LINE) {
                        log.info("{}: {}", name, new String(line, 0, length, StandardCharsets.UTF_8));
                        length = 0;
                    }
                }
            }
        } catch (IOException closed) {
            log.debug("{}: stderr was closed", name, closed);
        }
        if (length > 0) {
            log.info("{}: {}", name, new String(line, 0, length, StandardCharsets.UTF_8));
        }
    }

    private synchronized void keep(byte[] chunk, int count) {
        for (int i = 0; i < count; i++) {
            ring[(int) (written++ % KEPT_BYTES)] = chunk[i];
        }
    }

    /** What a dead worker wrote last; waits a moment for the reader to catch up with it. */
    String of() throws InterruptedException {
        join(PATIENCE_MILLIS);
        synchronized (this) {
            int length = (int) Math.min(written, KEPT_BYTES);
            byte[] last = new byte[length];
            for (int i = 0; i < length; i++) {
                last[i] = ring[(int) ((written - length + i) % KEPT_BYTES)];
            }
            return new String(last, StandardCharsets.UTF_8).strip();
        }
    }

    void join(long millis) throws InterruptedException {
        thread.join(millis);
    }
}
