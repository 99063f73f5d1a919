"""Processes, cores, signals and streams."""
