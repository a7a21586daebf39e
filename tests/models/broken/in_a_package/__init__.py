"""A package with a model, whose name has to survive."""
