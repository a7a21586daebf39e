"""The core: states, activities and predictions of one instance. Knows no HTTP and no wire format."""
