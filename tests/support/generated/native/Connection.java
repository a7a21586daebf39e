import generated.ApiClient;

/** How openapi-generator's Java library "native" connects. */
class Connection {
  static ApiClient to(String url, String token) {
    ApiClient client = new ApiClient();
    client.updateBaseUri(url);
    client.setRequestInterceptor(request -> request.header("Authorization", "Bearer " + token));
    return client;
  }
}
