"""``nnUNetv2_train`` for any trainer at the length, and on a CPU in the precision, that a comparison needs.

    MAGMS_NUM_EPOCHS=100 MAGMS_ITERATIONS_PER_EPOCH=25 python benchmarks/short_training.py 210 3d_fullres 0 -device cpu

nnU-Net's own trainers have no setting for their length, so the two variables are applied to them as well. On a CPU the
network runs in bfloat16 where that is safe, as nnU-Net runs it in float16 on a GPU, and the loss in float32; for every
trainer alike. For ablations ``ABLATION`` changes the settings of MAGMSTrainer and the learning rate of any:
``ABLATION='{"kl_weight": 10, "initial_lr": 0.002}'``.
"""

import json
import os
from collections.abc import Callable
from dataclasses import replace

import torch
from nnunetv2.run.run_training import run_training_entry
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch.utils._pytree import tree_map

from magms_nnunet.networks.multi_encoder_unet import MultiEncoderUNet
from magms_nnunet.trainers import MAGMSTrainer
from magms_nnunet.training.run_length import run_length_from_environment

ABLATION = json.loads(os.environ.get("ABLATION", "{}"))
LEARNING_RATE = ABLATION.pop("initial_lr", None)
construct, initialize = nnUNetTrainer.__init__, nnUNetTrainer.initialize


def constructed(self, plans, configuration, fold, dataset_json, device=None):
    """nnU-Net's constructor (it reads the names of these arguments), then the length of the run."""
    construct(self, plans, configuration, fold, dataset_json, device)
    if LEARNING_RATE is not None:
        self.initial_lr = LEARNING_RATE
    for attribute, value in run_length_from_environment().items():
        setattr(self, attribute, value)


def initialized(self):
    """nnU-Net's ``initialize``, then mixed precision on a CPU."""
    initialize(self)
    if self.device.type != "cpu":
        return
    torch.set_num_threads(len(os.sched_getaffinity(0)))  # nnU-Net takes all cores, also those that `taskset` forbids
    parts = [self.network]
    if isinstance(self.network, MultiEncoderUNet):
        parts.append(self.network.decoder)  # in training it is called by the loss
    for part in parts:
        part.forward = mixed(part.forward)


def mixed(forward: Callable) -> Callable:
    """The same in bfloat16; what it returns is float32."""

    def in_bfloat16(*args):
        with torch.autocast("cpu", torch.bfloat16):
            outputs = forward(*args)
        return tree_map(torch.Tensor.float, outputs)

    return in_bfloat16


if __name__ == "__main__":
    MAGMSTrainer.settings = replace(MAGMSTrainer.settings, **ABLATION)
    nnUNetTrainer.__init__, nnUNetTrainer.initialize = constructed, initialized
    run_training_entry()
