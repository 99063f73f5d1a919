"""Compares systems on the same cases."""
