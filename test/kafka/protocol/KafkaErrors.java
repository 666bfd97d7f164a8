import org.apache.kafka.common.errors.InvalidMetadataException;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.protocol.Errors;

/** Prints Kafka's own table of error codes: code, name, whether retriable, whether metadata is stale; a line each. */
public class KafkaErrors {
    public static void main(String[] args) {
        for (Errors error : Errors.values()) {
            Exception exception = error.exception();
            boolean retriable = exception instanceof RetriableException;
            boolean stale = exception instanceof InvalidMetadataException;
            System.out.println(error.code() + "\t" + error.name() + "\t" + retriable + "\t" + stale);
        }
    }
}
