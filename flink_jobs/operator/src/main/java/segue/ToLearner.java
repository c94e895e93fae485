package segue;

import org.apache.flink.api.common.functions.FilterFunction;
import org.apache.flink.types.Row;

/**
 * Parts what the segments operator says to the learner from what goes to topics. Rows to the learner have {@link #DESTINATION} and, as
 * key, what they are: null for an example, or one of the other constants.
 */
public class ToLearner implements FilterFunction<Row> {
    private static final long serialVersionUID = 1L;

    /** No topic has this number. */
    static final int DESTINATION = -1;
    /** Key of the definitions of models; each subtask says them before the first example that was made under them. */
    static final String DEFINITIONS = "definitions";
    /** Key of a record of the topic of models. */
    static final String MODEL = "model";

    private final boolean wanted;

    private ToLearner(boolean wanted) {
        this.wanted = wanted;
    }

    /** Lets through what the learner is to have. */
    public static ToLearner only() {
        return new ToLearner(true);
    }

    /** Lets through all the rest. */
    public static ToLearner none() {
        return new ToLearner(false);
    }

    @Override
    public boolean filter(Row row) {
        return ((int) row.getField(0) == DESTINATION) == wanted;
    }
}
