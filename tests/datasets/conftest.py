"""Fixtures of the datasets' tests."""

from tests.datasets.nnunet_home import home

__all__ = ["home"]
