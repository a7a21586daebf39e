import generated.ApiClient;

/** How swagger-codegen's Java library "resttemplate" connects. */
class Connection {
  static ApiClient to(String url, String token) {
    ApiClient client = new ApiClient();
    client.setBasePath(url);
    client.setApiKey(token);
    client.setApiKeyPrefix("Bearer");
    return client;
  }
}
