import java.util.Base64;
import java.util.List;
import java.util.Map;

import generated.MistkDataset;
import generated.ModelInstanceEndpointApi;
import generated.ModelInstanceInitParams;
import generated.ModelInstanceStatus;
import generated.ObjectInfo;

/** Drives a container of the digits model through its life with a generated client. Each library has its own Connection. */
public class Drive {
  private final ModelInstanceEndpointApi api;

  Drive(ModelInstanceEndpointApi api) {
    this.api = api;
  }

  /** Arguments: the API's base URL, a file of digits, and a folder to write to; with a token in TOKEN. */
  public static void main(String[] arguments) throws Exception {
    new Drive(new ModelInstanceEndpointApi(Connection.to(arguments[0], System.getenv("TOKEN")))).run(arguments[1], arguments[2]);
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
