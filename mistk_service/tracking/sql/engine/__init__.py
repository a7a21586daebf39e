"""Connections, the schema, the writer, and what differs between databases."""
