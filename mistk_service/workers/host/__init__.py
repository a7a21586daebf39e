"""The service's side of a worker."""
