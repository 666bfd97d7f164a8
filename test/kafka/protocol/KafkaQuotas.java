import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Scanner;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.common.quota.ClientQuotaAlteration;
import org.apache.kafka.common.quota.ClientQuotaEntity;

/** Sets the quotas of a client id. Reads a line with the brokers, one with the client id, and one `name value` for each. */
public class KafkaQuotas {
  public static void main(String[] arguments) throws Exception {
    var lines = new Scanner(System.in);
    var brokers = lines.nextLine();
    var entity = new ClientQuotaEntity(Map.of(ClientQuotaEntity.CLIENT_ID, lines.nextLine()));
    var quotas = new ArrayList<ClientQuotaAlteration.Op>();
    while (lines.hasNextLine()) {
      var quota = lines.nextLine().split(" ");
      quotas.add(new ClientQuotaAlteration.Op(quota[0], Double.valueOf(quota[1])));
    }
    try (var admin = Admin.create(Map.of("bootstrap.servers", (Object) brokers))) {
      admin.alterClientQuotas(List.of(new ClientQuotaAlteration(entity, quotas))).all().get();
    }
  }
}
