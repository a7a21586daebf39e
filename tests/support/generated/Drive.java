import java.net.http.HttpClient;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import org.openapitools.client.ApiClient;
import org.openapitools.client.api.ModelInstanceEndpointApi;
import org.openapitools.client.model.MistkDataset;
import org.openapitools.client.model.ModelInstanceInitParams;
import org.openapitools.client.model.ModelInstanceStatus;
import org.openapitools.client.model.ObjectInfo;

/** Drives a container of the digits model through its life with the client of openapi-generator's Java library "native". */
public class Drive {
  private final ModelInstanceEndpointApi api;

  Drive(String url) {
    ApiClient client = new ApiClient();
    client.updateBaseUri(url);
    // Otherwise Java offers an upgrade to HTTP/2 with every request, and the parser httptools does not read a body after that.
    client.setHttpClientBuilder(HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1));
    api = new ModelInstanceEndpointApi(client);
  }

  /** Arguments: the API's base URL, a file of digits, and a folder to write to. */
  public static void main(String[] arguments) throws Exception {
    new Drive(arguments[0]).run(arguments[1], arguments[2]);
  }

  void run(String data, String folder) throws Exception {
    MistkDataset dataset = new MistkDataset();
    dataset.objectInfo(new ObjectInfo().name("digits").kind("MistkDataset"));
    dataset.dataPath(data);
    reached("started");
    api.initializeModel(
        new ModelInstanceInitParams()
            .objectives(List.of(ModelInstanceInitParams.ObjectivesEnum.TRAINING))
            .hyperparameters(Map.of("epochs", 2)));
    reached("initialized");
    api.buildModel(null);
    reached("ready");
    api.loadData(Map.of("train", dataset));
    reached("ready");
    api.train();
    ModelInstanceStatus trained = reached("ready");
    if (!"completed".equals(trained.getPayload().getLastActivity().getOutcome().getValue())) {
      throw new IllegalStateException(trained.toString());
    }
    api.saveModel(folder + "/model");
    reached("ready");
    String record = Base64.getEncoder().encodeToString(new byte[256]);
    if (!api.streamPredict(Map.of("a", record), true).containsKey("a")) {
      throw new IllegalStateException("no answer");
    }
    System.out.println(api.terminate().getState().getValue());
  }

  ModelInstanceStatus reached(String state) throws Exception {
    while (true) {
      ModelInstanceStatus status = api.getStatus(null, null);
      if (status.getState().getValue().equals(state)) {
        return status;
      }
      if (status.getState().getValue().equals("failed")) {
        throw new IllegalStateException(status.toString());
      }
      Thread.sleep(20);
    }
  }
}
