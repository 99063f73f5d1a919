"""Checks whether this machine can train and predict, for ``magms_doctor``."""
