"""Fine-tuning (``-pretrained_weights``): nnU-Net unpickles that file where no trainer is asked, so we step in there."""

import sys
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from nnunetv2.run.load_pretrained_weights import load_pretrained_weights as load_anything
from torch import nn

from magms_nnunet.checkpoints import TRUST_VARIABLE, as_data, read_checkpoint, trusted_by_environment
from magms_nnunet.errors import InputError, InputWarning
from magms_nnunet.geometry import times

_ENTRY = "nnunetv2.run.run_training"


def guard_pretrained_weights() -> None:
    """Have this process's nnUNetv2_train read pretrained weights as data.

    A trainer is made before they are read, in every process of a training, and nnU-Net's own trainers never get here.

    Warns:
        InputWarning: nnU-Net reads them in another way than the tested one.
    """
    for name in (_ENTRY, "__main__"):  # the latter: python -m nnunetv2.run.run_training
        module = sys.modules.get(name)
        if getattr(module, "load_pretrained_weights", None) is load_anything:
            module.load_pretrained_weights = load_data
    entry = sys.modules.get(_ENTRY)
    if entry is not None and getattr(entry, "load_pretrained_weights", None) is not load_data:
        warnings.warn(
            "this nnU-Net reads the file of -pretrained_weights in a way that magms_nnunet does not know, and may "
            "execute what is in it: use files only from those whom you trust",
            InputWarning,
            stacklevel=2,
        )


def load_data(network: nn.Module, fname: str, verbose: bool = False) -> None:
    """nnU-Net's ``load_pretrained_weights``, of a file that holds data only.

    Raises:
        InputError: it holds more, or weights of another network.
    """
    trust, remedy = trusted_by_environment(), f"{TRUST_VARIABLE}=1 if you trust who made it"
    try:
        with as_data(fname, trust, remedy):
            load_anything(network, fname, verbose)
    except AssertionError as error:  # its message holds a whole tensor
        weights = read_checkpoint(Path(fname), trust, remedy)["network_weights"]
        raise InputError(f"-pretrained_weights {fname}: {_difference(network, weights)}") from error


def _difference(network: nn.Module, weights: Mapping[str, torch.Tensor]) -> str:
    """What keeps a network from taking weights that nnU-Net has refused."""
    network = getattr(network, "module", network)  # DistributedDataParallel
    network = getattr(network, "_orig_mod", network)  # torch.compile
    for name, own in network.state_dict().items():
        if ".seg_layers." in name:  # these are not taken
            continue
        if name not in weights:
            return f"it has no {name}: take a model of this trainer and of as many modalities"
        if own.shape != weights[name].shape:
            shapes = f"{name} is {times(weights[name].shape)} there and {times(own.shape)} here"
            return f"{shapes}: plan this dataset with that model's plans (nnUNetv2_move_plans_between_datasets)"
    return "it does not fit this network"
