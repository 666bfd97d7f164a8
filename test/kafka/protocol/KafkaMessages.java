import com.fasterxml.jackson.databind.JsonNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.util.HexFormat;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;

/**
 * Reads messages with Kafka's own classes and writes them again. A line in: class, version, hexadecimal bytes. A line
 * out: the bytes that Kafka's class writes for the message, and the message as JSON; or "error" and the reason.
 */
public class KafkaMessages {
    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = in.readLine()) != null; ) {
            String[] parts = line.split(" ", 3);
            System.out.println(answer(parts[0], Short.parseShort(parts[1]), parts.length < 3 ? "" : parts[2]));
        }
    }

    static String answer(String name, short version, String hex) {
        try {
            Class<?> type = Class.forName("org.apache.kafka.common.message." + name);
            Message message = (Message) type.getConstructor().newInstance();
            ByteBuffer bytes = ByteBuffer.wrap(HexFormat.of().parseHex(hex));
            message.read(new ByteBufferAccessor(bytes), version);
            if (bytes.hasRemaining()) return "error " + bytes.remaining() + " bytes are left";
            return write(message, version) + " " + json(type, message, version);
        } catch (Throwable error) {
            return "error " + String.valueOf(error).replace('\n', ' ');
        }
    }

    static String write(Message message, short version) {
        ObjectSerializationCache cache = new ObjectSerializationCache();
        int size = message.size(cache, version);
        ByteBuffer out = ByteBuffer.allocate(size);
        message.write(new ByteBufferAccessor(out), cache, version);
        return HexFormat.of().formatHex(out.array(), 0, out.position());
    }

    static JsonNode json(Class<?> type, Message message, short version) throws Exception {
        Class<?> converter = Class.forName(type.getName() + "JsonConverter");
        Method write = converter.getMethod("write", type, short.class, boolean.class);
        return (JsonNode) write.invoke(null, message, version, false);
    }
}
