"""The ways in: one adapter for each protocol that the container speaks."""
