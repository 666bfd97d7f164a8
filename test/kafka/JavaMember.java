import java.time.Duration;
import java.util.Collection;
import java.util.List;
import java.util.Properties;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Kafka's own consumer as a member of a group: brokers, group, topic and protocol are its arguments. It commits what it
 * reads, prints a line for each record and each change of its assignment, and leaves when its input ends.
 */
public class JavaMember {
    public static void main(String[] args) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", args[0]);
        properties.put("group.id", args[1]);
        properties.put("group.protocol", args[3]);
        properties.put("auto.offset.reset", "earliest");
        properties.put("enable.auto.commit", "false");
        properties.put("metadata.max.age.ms", "1000");
        if (args[3].equals("classic")) properties.put("heartbeat.interval.ms", "200");
        KafkaConsumer<byte[], byte[]> consumer =
            new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        Thread ending = new Thread(() -> {
            try {
                while (System.in.read() >= 0) {}
            } catch (java.io.IOException e) {
                // An input that cannot be read counts as ended.
            }
            consumer.wakeup();
        });
        ending.setDaemon(true);
        ending.start();
        consumer.subscribe(List.of(args[2]), new ConsumerRebalanceListener() {
            public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
                tell("assigned", partitions);
            }

            public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
                tell("revoked", partitions);
            }
        });
        try {
            while (true) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(100))) {
                    System.out.println("read " + record.partition() + "@" + record.offset());
                }
                consumer.commitSync();
            }
        } catch (WakeupException e) {
            consumer.close();
        }
    }

    private static void tell(String what, Collection<TopicPartition> partitions) {
        System.out.println(what + " " + partitions.stream().map(each -> "" + each.partition()).collect(Collectors.joining(" ")));
    }
}
