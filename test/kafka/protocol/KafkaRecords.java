import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.MutableRecordBatch;
import org.apache.kafka.common.record.internal.Record;

/**
 * Reads record batches with Kafka's own classes. A line in: hexadecimal bytes. A line out: the records as JSON; or
 * "error" and the reason.
 */
public class KafkaRecords {
    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = in.readLine()) != null; ) System.out.println(answer(line));
    }

    static String answer(String hex) {
        try {
            ByteBuffer bytes = ByteBuffer.wrap(HexFormat.of().parseHex(hex));
            List<String> batches = new ArrayList<>();
            for (MutableRecordBatch batch : MemoryRecords.readableRecords(bytes).batches()) {
                batch.ensureValid();
                batches.add(show(batch));
            }
            return "[" + String.join(",", batches) + "]";
        } catch (Throwable error) {
            return "error " + String.valueOf(error).replace('\n', ' ');
        }
    }

    static String show(MutableRecordBatch batch) {
        List<String> records = new ArrayList<>();
        for (Record record : batch) {
            record.ensureValid();
            records.add(show(record));
        }
        return "{\"baseOffset\":" + batch.baseOffset() + ",\"lastOffset\":" + batch.lastOffset()
            + ",\"count\":" + batch.countOrNull() + ",\"producerId\":" + batch.producerId()
            + ",\"epoch\":" + batch.producerEpoch() + ",\"sequence\":" + batch.baseSequence()
            + ",\"maxTimestamp\":" + batch.maxTimestamp() + ",\"records\":[" + String.join(",", records) + "]}";
    }

    static String show(Record record) {
        List<String> headers = new ArrayList<>();
        for (Header header : record.headers()) {
            byte[] name = header.key().getBytes(StandardCharsets.UTF_8);
            headers.add("[" + base64(ByteBuffer.wrap(name)) + "," + base64(wrap(header.value())) + "]");
        }
        return "{\"offset\":" + record.offset() + ",\"timestamp\":" + record.timestamp()
            + ",\"key\":" + base64(record.key()) + ",\"value\":" + base64(record.value())
            + ",\"headers\":[" + String.join(",", headers) + "]}";
    }

    static ByteBuffer wrap(byte[] bytes) {
        return bytes == null ? null : ByteBuffer.wrap(bytes);
    }

    static String base64(ByteBuffer bytes) {
        if (bytes == null) return "null";
        byte[] copy = new byte[bytes.remaining()];
        bytes.duplicate().get(copy);
        return "\"" + Base64.getEncoder().encodeToString(copy) + "\"";
    }
}
