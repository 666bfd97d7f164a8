import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Kafka's own consumer as a member of a share group: brokers, group, topic and a number of records are its arguments.
 * Acknowledges that many records of a topic with one partition, and ends.
 */
public class JavaShareMember {
    public static void main(String[] args) throws Exception {
        int count = Integer.parseInt(args[3]);
        Properties properties = new Properties();
        properties.put("bootstrap.servers", args[0]);
        try (Admin admin = Admin.create(properties)) {
            ConfigResource group = new ConfigResource(ConfigResource.Type.GROUP, args[1]);
            ConfigEntry earliest = new ConfigEntry("share.auto.offset.reset", "earliest");
            admin.incrementalAlterConfigs(Map.of(group, List.of(new AlterConfigOp(earliest, AlterConfigOp.OpType.SET)))).all().get();
        }
        properties.put("group.id", args[1]);
        properties.put("share.acknowledgement.mode", "explicit");
        properties.put("max.poll.records", String.valueOf(count));
        try (KafkaShareConsumer<byte[], byte[]> consumer =
            new KafkaShareConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.subscribe(List.of(args[2]));
            int acknowledged = 0;
            while (acknowledged < count) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(100))) {
                    if (acknowledged < count) {
                        consumer.acknowledge(record);
                        acknowledged++;
                    } else {
                        consumer.acknowledge(record, org.apache.kafka.clients.consumer.AcknowledgeType.RELEASE);
                    }
                }
                consumer.commitSync();
            }
        }
    }
}
