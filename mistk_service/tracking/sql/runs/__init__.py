"""Experiments, runs and their metrics in SQL."""
