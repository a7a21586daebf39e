// The contract of the lifecycle API of this container.

import { about, get } from "./api.js";

let loading = null;

/** The contract: `paths`, `definitions`, and `hyperparameters`, the schema of those that the class declares. */
export function contract() {
  loading ??= get(`${about.api}/swagger.json`).then((document) => {
    const schemas = Object.values(document.definitions ?? {}).map((each) => each.properties?.hyperparameters);
    return { ...document, hyperparameters: schemas.find(Boolean) };
  });
  loading.catch(() => { loading = null; });
  return loading;
}
