package segue;

import java.io.IOException;

/** The worker died, did not answer in time, or answered something that is no frame. Fails the task, so that Flink restarts it. */
public class WorkerFailure extends IOException {
    private static final long serialVersionUID = 1L;

    public WorkerFailure(String message) {
        super(message);
    }

    public WorkerFailure(String message, Throwable cause) {
        super(message, cause);
    }
}
