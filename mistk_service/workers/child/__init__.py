"""The worker's side: it loads the model and calls its hooks. A worker imports nothing else of the service."""
