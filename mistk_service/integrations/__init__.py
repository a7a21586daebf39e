"""Containers inside other frameworks."""
