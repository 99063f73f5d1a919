"""Fine-tuning (``-pretrained_weights``): nnU-Net unpickles that file where no trainer is asked, so we step in there."""

import sys

from nnunetv2.run.load_pretrained_weights import load_pretrained_weights as load_anything
from torch import nn

from magms_nnunet.checkpoints import TRUST_VARIABLE, as_data, trusted_by_environment


def guard_pretrained_weights() -> None:
    """Have this process's nnUNetv2_train read pretrained weights as data.

    A trainer is made before they are read, in every process of a training, and nnU-Net's own trainers never get here.
    """
    for name in ("nnunetv2.run.run_training", "__main__"):  # the latter: python -m nnunetv2.run.run_training
        module = sys.modules.get(name)
        if getattr(module, "load_pretrained_weights", None) is load_anything:
            module.load_pretrained_weights = load_data


def load_data(network: nn.Module, fname: str, verbose: bool = False) -> None:
    """nnU-Net's ``load_pretrained_weights``, of a file that holds data only.

    Raises:
        InputError: it holds more.
    """
    with as_data(fname, trusted_by_environment(), f"{TRUST_VARIABLE}=1 if you trust who made it"):
        load_anything(network, fname, verbose)
