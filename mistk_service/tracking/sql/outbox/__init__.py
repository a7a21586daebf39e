"""What replicas have yet to get, and what is known of them."""
