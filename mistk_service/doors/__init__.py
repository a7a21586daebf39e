"""The APIs of the container: one adapter for each protocol."""
