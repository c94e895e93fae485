package segue;

import java.io.Serializable;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * What a {@link WorkerOperator} needs to know; the linger, the grace and the rules concern {@link SegmentOperator} alone. Filled through
 * setters that each return the object, because it is built from Python when the job is; it travels to the task managers with the job graph.
 */
public final class WorkerConfig implements Serializable {
    private static final long serialVersionUID = 1L;

    /** Room for the length, the msgpack headers and the smallest conceivable frame. */
    private static final int SMALLEST_FRAME_LIMIT = 4096;

    List<String> command = List.of();
    Map<String, String> environment = Map.of();
    List<String> pythonPath = List.of();
    String cachedFile;
    int maxBatch = 1000;
    long lingerMillis = 2;
    int maxFrameBytes = 64 << 20;
    long frameDeadlineMillis = 60_000;
    long startDeadlineMillis = 120_000;
    long clockGraceMillis = 30_000;
    String settings = "{}";
    byte[] rules;

    /** The worker as a command line: the Python executable and its arguments. */
    public WorkerConfig setCommand(List<String> command) {
        this.command = new ArrayList<>(command);
        return this;
    }

    /** Environment variables of the worker, over those of the task manager. */
    public WorkerConfig setEnvironment(Map<String, String> environment) {
        this.environment = new LinkedHashMap<>(environment);
        return this;
    }

    /** Entries put before the task manager's own PYTHONPATH. */
    public WorkerConfig setPythonPath(List<String> entries) {
        this.pythonPath = new ArrayList<>(entries);
        return this;
    }

    /** Name of a file in Flink's distributed cache (a zip or a folder of modules) whose local path comes first on the PYTHONPATH. */
    public WorkerConfig setCachedFile(String name) {
        this.cachedFile = name;
        return this;
    }

    /** The most arrivals in one frame. */
    public WorkerConfig setMaxBatch(int arrivals) {
        require(arrivals > 0, "the batch size must be at least 1, not " + arrivals);
        this.maxBatch = arrivals;
        return this;
    }

    /** How long an arrival may wait for company while the worker is idle; 0 sends at once. */
    public WorkerConfig setLingerMillis(long millis) {
        require(millis >= 0, "the linger must not be negative: " + millis);
        this.lingerMillis = millis;
        return this;
    }

    /** The longest frame in either direction, in bytes. */
    public WorkerConfig setMaxFrameBytes(int bytes) {
        require(bytes >= SMALLEST_FRAME_LIMIT, "the frame limit must be at least " + SMALLEST_FRAME_LIMIT + " bytes, not " + bytes);
        this.maxFrameBytes = bytes;
        return this;
    }

    /** How long the worker may take for one frame before it is killed. */
    public WorkerConfig setFrameDeadlineMillis(long millis) {
        require(millis > 0, "the frame deadline must be positive: " + millis);
        this.frameDeadlineMillis = millis;
        return this;
    }

    /** How long the worker may take to start and answer the first frame; it imports its modules in this time. */
    public WorkerConfig setStartDeadlineMillis(long millis) {
        require(millis > 0, "the start deadline must be positive: " + millis);
        this.startDeadlineMillis = millis;
        return this;
    }

    /**
     * How long after the start the clock of the rules input is held back while no event has come. A job that starts on a backlog may
     * take some seconds to read its first record; without this its events' input would pass for idle, and all the backlog for late.
     */
    public WorkerConfig setClockGraceMillis(long millis) {
        require(millis >= 0, "the grace of the clock must not be negative: " + millis);
        this.clockGraceMillis = millis;
        return this;
    }

    /** The worker's settings as JSON, passed on unread. */
    public WorkerConfig setSettings(String json) {
        this.settings = json;
        return this;
    }

    /** The rule set the job was built with: UTF-8 JSON, an object with an integer `version`. */
    public WorkerConfig setRules(byte[] payload) {
        this.rules = payload.clone();
        return this;
    }

    void check() {
        require(!command.isEmpty(), "the worker's command is missing: call setCommand");
    }

    void checkRules() {
        require(rules != null, "the initial rule set is missing: call setRules");
    }

    private static void require(boolean holds, String complaint) {
        if (!holds) {
            throw new IllegalArgumentException(complaint);
        }
    }
}
