"""Small networks of every kind that plans can describe."""

import pytest
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager

from magms_nnunet.networks.from_plans import build_multi_encoder_unet

BLOCKS = {
    "PlainConvUNet": {"n_conv_per_stage": [1, 1, 1]},
    "ResidualEncoderUNet": {"n_blocks_per_stage": [1, 1, 1]},
}


def configuration(
    num_modalities: int, dim: int = 3, unet: str = "PlainConvUNet", anisotropic: bool = False
) -> ConfigurationManager:
    thick = [1] if anisotropic else []  # the first axis is neither convolved at first nor halved at once
    return ConfigurationManager(
        {
            "patch_size": [16] * dim,
            "normalization_schemes": ["ZScoreNormalization"] * num_modalities,
            "architecture": {
                "network_class_name": f"dynamic_network_architectures.architectures.unet.{unet}",
                "arch_kwargs": {
                    "n_stages": 3,
                    "features_per_stage": [4, 6, 8],
                    "conv_op": f"torch.nn.modules.conv.Conv{dim}d",
                    "kernel_sizes": [(thick + [3] * dim)[:dim], *[[3] * dim] * 2],
                    "strides": [[1] * dim, (thick + [2] * dim)[:dim], [2] * dim],
                    "n_conv_per_stage_decoder": [1, 2],
                    "conv_bias": True,
                    "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dim}d",
                    "norm_op_kwargs": {"eps": 1e-5, "affine": True},
                    "dropout_op": None,
                    "dropout_op_kwargs": None,
                    "nonlin": "torch.nn.LeakyReLU",
                    "nonlin_kwargs": {"inplace": True},
                    **BLOCKS[unet],
                },
                "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
            },
        }
    )


@pytest.fixture
def build():
    """build(M, extra=0, dim=3, unet=..., classes=3, deep_supervision=False) -> MultiEncoderUNet."""

    def build(num_modalities, extra=0, dim=3, unet="PlainConvUNet", classes=3, deep_supervision=False):
        plans = configuration(num_modalities, dim, unet)
        if extra:
            plans.configuration["previous_stage"] = "3d_lowres"
        return build_multi_encoder_unet(plans, num_modalities + extra, classes, deep_supervision)

    return build
