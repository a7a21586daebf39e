"""The kind ``model``: base class, state table, values."""
