"""Benchmarks: the service and its peers, side by side in one run. See docs/explanation/benchmarks.md."""
