// Requests to the APIs of the service that serves the page.

/** The address of a path of the service ("v1/mistk/status"), below whatever prefix the page is served. */
export const address = (path) => new URL(path, new URL(".", document.baseURI)).href;

/** A request that was refused or failed. Its message is for the user. */
export class ApiError extends Error {
  constructor(status, message, body) {
    super(message);
    this.status = status;
    this.body = body;
  }
}

/**
 * Send a request and return its response.
 *
 * @param path a path of the service, without a leading slash.
 * @param options as for fetch; also `query`, an object, and `json`, a value to be sent as the body.
 * @throws ApiError the service refused it, or could not be reached (status 0).
 */
export async function request(path, { query, json, headers, ...options } = {}) {
  const given = Object.entries(query ?? {}).filter(([, value]) => value !== undefined && value !== null);
  const url = `${address(path)}${given.length ? `?${new URLSearchParams(given)}` : ""}`;
  if (json !== undefined) {
    options.body = JSON.stringify(json);
    headers = { "Content-Type": "application/json", ...headers };
  }
  let response;
  try {
    response = await fetch(url, { headers, ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The service cannot be reached.");
  }
  if (response.ok) return response;
  // The session has ended.
  if (response.status === 401 && document.cookie.includes("mistk_session_open=1")) location.assign(address("login"));
  const body = await response.json().catch(() => null);
  throw new ApiError(response.status, body?.message ?? body?.detail ?? `The service answered ${response.status}.`, body);
}

/** Read JSON. */
export const get = async (path, query, options) => (await request(path, { query, ...options })).json();

/**
 * Facts about the service: `standsOn` ("container" or "tracking"), `api` (the base path of the lifecycle API),
 * `tracking` (the base path of MLflow's API; null if there is none), `name`, `reference`, `version`, and the visitor's `user` and
 * `role`.
 */
export const about = await get("page/about").catch((error) => {
  document.getElementById("view").textContent = error.message;
  throw error;
});
