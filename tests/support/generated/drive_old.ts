// Drives a container of the digits model through its life with the client of swagger-codegen's typescript-fetch.
// Arguments: the API's base URL, a file of digits, and a folder to write to; with a token in TOKEN.
import { Configuration, ModelInstanceEndpointApi, ModelInstanceInitParams, ModelInstanceStatus } from "./client";

declare const process: { argv: string[]; env: { TOKEN: string } };

async function main(basePath: string, data: string, folder: string): Promise<void> {
  const api = new ModelInstanceEndpointApi(new Configuration({ basePath, apiKey: `Bearer ${process.env.TOKEN}` }));
  const reached = async (state: string): Promise<ModelInstanceStatus> => {
    for (;;) {
      const status = await api.getStatus();
      if (`${status.state}` === state) return status;
      if (`${status.state}` === "failed") throw new Error(JSON.stringify(status));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  const dataset = { objectInfo: { name: "digits", kind: "MistkDataset" }, dataPath: data, format: "csv" };
  await reached("started");
  await api.initializeModel({ objectives: [ModelInstanceInitParams.ObjectivesEnum.Training], hyperparameters: { epochs: 2 } });
  await reached("initialized");
  await api.buildModel();
  await reached("ready");
  await api.loadData({ train: dataset });
  await reached("ready");
  await api.train();
  const trained = await reached("ready");
  if (`${trained.payload?.lastActivity?.outcome}` !== "completed") throw new Error(JSON.stringify(trained));
  await api.saveModel(`${folder}/model`);
  await reached("ready");
  const record = btoa(String.fromCharCode(...new Uint8Array(256)));
  const answer = await api.streamPredict({ a: record }, true);
  if (!("explanation" in answer["a"])) throw new Error(JSON.stringify(answer));
  console.log((await api.terminate()).state);
}

main(process.argv[2], process.argv[3], process.argv[4]);
