"""``-tr HeMISTrainer``: segmentation from mean and variance of features (Havaei et al., arXiv 1607.05194)."""

from functools import partial

from magms_nnunet.networks.from_plans import build_multi_encoder_unet
from magms_nnunet.networks.hemis_unet import HeMISUNet
from magms_nnunet.training.subset_trainer import SubsetTrainer


class HeMISTrainer(SubsetTrainer):
    """nnU-Net's trainer and loss with :class:`HeMISUNet`; half of the samples keep a random incomplete subset."""

    build = staticmethod(partial(build_multi_encoder_unet, network=HeMISUNet))
