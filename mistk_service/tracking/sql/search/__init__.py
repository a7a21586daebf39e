"""Filters, orders and pages in SQL."""
