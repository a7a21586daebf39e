"""MLflow's JSON: values to JSON and back, for server and client alike."""
