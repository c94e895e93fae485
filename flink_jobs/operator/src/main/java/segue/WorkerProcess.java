package segue;

import java.io.BufferedInputStream;
import java.io.Closeable;
import java.io.DataInputStream;
import java.io.EOFException;
import java.io.File;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Executors;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import org.msgpack.core.MessagePackException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The Python worker as a child process: one frame out, one frame in, at most one at a time.
 *
 * <p>A thread of its own writes and reads, so that the task's thread can go on gathering; it tells the task through `signal` that
 * there is an answer, or that there will never be one. A watchdog kills a worker that takes too long: the read then ends like that of
 * any other death. Closing stdin is how a worker hears that it may go, also when this JVM is gone.
 */
final class WorkerProcess implements Closeable {
    private static final Logger LOG = LoggerFactory.getLogger(WorkerProcess.class);
    private static final long PATIENCE_MILLIS = 2000;

    /** Turns the bytes of an answer into what the task wants of it. */
    interface Decoder<T> {
        T decode(byte[] frame) throws IOException;
    }

    private record Request(byte[] frame, Decoder<?> decoder, long deadlineMillis) {}

    private final String name;
    private final int maxFrameBytes;
    private final Runnable signal;
    private final Process process;
    private final LastWords lastWords;
    private final Thread exchange;
    private final ScheduledExecutorService watchdog;
    private final BlockingQueue<Request> requests = new LinkedBlockingQueue<>();
    /** Holds one answer at most; a {@link WorkerFailure} stands for the answer that will not come. */
    private final BlockingQueue<Object> answers = new LinkedBlockingQueue<>();

    private volatile boolean closing;
    private volatile boolean overrun;
    private volatile WorkerFailure failure;
    /** Of {@link System#nanoTime}; 0 while nothing is asked. */
    private volatile long deadline;
    private volatile long deadlineMillis;

    /**
     * Starts the worker.
     *
     * @param cached a folder or archive of modules that comes first on the PYTHONPATH, or null
     * @param signal called from another thread when {@link #poll} has something to say
     */
    WorkerProcess(WorkerConfig config, String name, File cached, Runnable signal) throws IOException {
        this.name = name;
        this.maxFrameBytes = config.maxFrameBytes;
        this.signal = signal;
        ProcessBuilder builder = new ProcessBuilder(config.command);
        builder.environment().putAll(config.environment);
        List<String> path = new ArrayList<>();
        if (cached != null) {
            path.add(cached.getAbsolutePath());
        }
        path.addAll(config.pythonPath);
        String inherited = builder.environment().get("PYTHONPATH");
        if (inherited != null && !inherited.isEmpty()) {
            path.add(inherited);
        }
        builder.environment().put("PYTHONPATH", String.join(File.pathSeparator, path));
        try {
            process = builder.start();
        } catch (IOException error) {
            throw new WorkerFailure("the worker could not be started: " + error.getMessage(), error);
        }
        lastWords = new LastWords(process.getErrorStream(), name, LOG);
        exchange = new Thread(this::exchangeFrames, name + "-frames");
        exchange.setDaemon(true);
        exchange.start();
        watchdog = Executors.newSingleThreadScheduledExecutor(task -> {
            Thread thread = new Thread(task, name + "-watchdog");
            thread.setDaemon(true);
            return thread;
        });
        long period = Math.max(1, Math.min(500, Math.min(config.frameDeadlineMillis, config.startDeadlineMillis) / 4));
        watchdog.scheduleWithFixedDelay(this::watch, period, period, TimeUnit.MILLISECONDS);
        // The frame thread hears of a death only while it reads; a worker that dies idle must not go unnoticed until the next record.
        process.onExit().thenRun(() -> {
            if (!closing && deadline == 0) {
                fail(null);
            }
        });
    }

    long pid() {
        return process.pid();
    }

    /** Hands a frame over; the answer comes through {@link #await} or {@link #poll}, in the order of the frames. */
    void send(byte[] frame, Decoder<?> decoder, long deadlineMillis) throws WorkerFailure {
        if (frame.length > maxFrameBytes) {
            throw new WorkerFailure("a frame of " + frame.length + " bytes is over the limit of " + maxFrameBytes);
        }
        requests.add(new Request(frame, decoder, deadlineMillis));
    }

    /** The answer to the oldest frame without one, waiting for it. */
    Object await() throws IOException, InterruptedException {
        if (failure != null) {
            throw failure;
        }
        return orThrow(answers.take());
    }

    /** The answer to the oldest frame without one, or null while there is none. */
    Object poll() throws IOException {
        if (failure != null) {
            throw failure;
        }
        Object answer = answers.poll();
        return answer == null ? null : orThrow(answer);
    }

    private static Object orThrow(Object answer) throws IOException {
        if (answer instanceof WorkerFailure) {
            throw (WorkerFailure) answer;
        }
        return answer;
    }

    private void exchangeFrames() {
        try (OutputStream out = process.getOutputStream();
                DataInputStream in = new DataInputStream(new BufferedInputStream(process.getInputStream(), 1 << 16))) {
            Request next = null;
            while (true) {
                Request request = next;
                if (request == null) {
                    request = requests.take();
                    ask(out, request);
                }
                int length = in.readInt();
                if (length < 1 || length > maxFrameBytes) {
                    throw new IOException("it announced an answer of " + Integer.toUnsignedString(length)
                            + " bytes; does it print to its standard output?");
                }
                byte[] frame = new byte[length];
                in.readFully(frame);
                deadline = 0;
                // The worker has its next frame before its answer is looked at, so it need not wait for that.
                next = requests.poll();
                if (next != null) {
                    ask(out, next);
                }
                Object answer;
                try {
                    answer = request.decoder.decode(frame);
                } catch (MessagePackException error) {
                    throw new IOException("its answer cannot be read: " + error, error);
                }
                answers.add(answer);
                signal.run();
                // It may have died between its answer and here, when the exit was left to this thread to notice.
                if (!process.isAlive() && !closing) {
                    fail(null);
                }
            }
        } catch (InterruptedException end) {
            // close() is the one who interrupts.
        } catch (Throwable error) {
            if (!closing) {
                fail(error);
            }
        }
    }

    private void ask(OutputStream out, Request request) throws IOException {
        deadlineMillis = request.deadlineMillis;
        // Never 0, which would mean that nothing is asked.
        deadline = (System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(request.deadlineMillis)) | 1;
        out.write(ByteBuffer.allocate(4).putInt(request.frame.length).array());
        out.write(request.frame);
        out.flush();
    }

    private void watch() {
        long until = deadline;
        if (until != 0 && System.nanoTime() - until > 0) {
            overrun = true;
            killTree();
        }
    }

    /** Makes the failure known, with all that can be said about it; the first one counts. */
    private synchronized void fail(Throwable cause) {
        if (failure != null) {
            return;
        }
        // The pipe ends a moment before the process counts as dead; anything else is an answer that makes no sense.
        boolean died = cause == null || cause instanceof EOFException || isClosedPipe(cause);
        StringBuilder message = new StringBuilder(name).append(" (pid ").append(process.pid()).append(") ");
        try {
            if (overrun) {
                message.append("did not answer within ").append(deadlineMillis).append(" ms and was killed");
            } else if (died && process.waitFor(PATIENCE_MILLIS, TimeUnit.MILLISECONDS)) {
                message.append("ended with exit code ").append(process.exitValue());
            } else {
                message.append("failed: ").append(cause == null ? "it is gone" : cause.getMessage());
            }
            killTree();
            String words = lastWords.of();
            message.append(words.isEmpty() ? "; it said nothing" : "; its last words:\n" + words);
        } catch (InterruptedException end) {
            Thread.currentThread().interrupt();
        }
        failure = new WorkerFailure(message.toString(), cause);
        answers.offer(failure);
        signal.run();
    }

    /** The system says that the pipe is broken; Java says that it is closed, once it has noticed that the process has ended. */
    private static boolean isClosedPipe(Throwable cause) {
        if (!(cause instanceof IOException) || cause.getMessage() == null) {
            return false;
        }
        return cause.getMessage().contains("Broken pipe") || cause.getMessage().contains("Stream closed");
    }

    /** Ends the worker at once, with all it started, and wakes a task that waits for it. Safe from any thread. */
    void kill() {
        closing = true;
        killTree();
        WorkerFailure stopped = new WorkerFailure(name + " was stopped");
        failure = stopped;
        answers.offer(stopped);
    }

    private void killTree() {
        process.descendants().forEach(ProcessHandle::destroyForcibly);
        process.destroyForcibly();
    }

    /** Lets an idle worker leave by itself, kills a busy one, and returns when the process and the threads have ended. */
    @Override
    public void close() throws IOException {
        closing = true;
        watchdog.shutdownNow();
        boolean interrupted = false;
        try {
            if (deadline != 0 || !process.isAlive()) {
                killTree();
            }
            // Ends the frame thread where it waits, which closes the worker's stdin.
            exchange.interrupt();
            if (!process.waitFor(PATIENCE_MILLIS, TimeUnit.MILLISECONDS)) {
                LOG.info("{} (pid {}) did not leave by itself and is killed", name, process.pid());
            }
        } catch (InterruptedException end) {
            interrupted = true;
        }
        killTree();
        try {
            process.waitFor(PATIENCE_MILLIS, TimeUnit.MILLISECONDS);
            exchange.join(PATIENCE_MILLIS);
            lastWords.join(PATIENCE_MILLIS);
            watchdog.awaitTermination(PATIENCE_MILLIS, TimeUnit.MILLISECONDS);
        } catch (InterruptedException end) {
            interrupted = true;
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }
}
