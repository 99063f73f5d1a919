"""What all tests share."""

import os

os.environ.setdefault("nnUNet_def_n_proc", "1")  # nnU-Net reads it when it is imported
os.environ.setdefault("nnUNet_n_proc_DA", "1")

import pytest
import torch


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)
