"""Health, readiness and figures for operators."""
