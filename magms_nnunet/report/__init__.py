"""The report of an evaluation, and pictures of results."""
