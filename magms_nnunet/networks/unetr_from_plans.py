"""Builds UNETR from any plans of nnU-Net: of these it takes the patch size and the channels, not the U-Net."""

from typing import TYPE_CHECKING

from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager

from magms_nnunet.errors import InputError
from magms_nnunet.networks.from_plans import split_channels
from magms_nnunet.networks.input_channels import with_checked_channels
from magms_nnunet.networks.multi_encoder_unet import MultiEncoderUNet

if TYPE_CHECKING:
    from magms_nnunet.networks.unetr import UNETR


def build_unetr(configuration: ConfigurationManager, num_input_channels: int, num_output_channels: int) -> "UNETR":
    """The plain UNETR, with all modalities (and the previous stage of a cascade) as channels of its input.

    Raises:
        InputError: MONAI cannot be imported.
    """
    try:
        from magms_nnunet.networks.unetr import UNETR
    except ImportError as error:
        raise InputError(
            f'UNETR trainers need MONAI ({error}): pip install "magms_nnunet[unetr]", or train with -tr MAGMSTrainer'
        ) from error
    network = UNETR(num_input_channels, num_output_channels, configuration.patch_size)
    return with_checked_channels(network, num_input_channels)


def build_multi_encoder_unetr(
    configuration: ConfigurationManager, num_input_channels: int, num_output_channels: int
) -> MultiEncoderUNet:
    """UNETR with its transformer once per modality; what it takes and raises is as in ``build_multi_encoder_unet``.

    Raises:
        InputError: MONAI cannot be imported, or the plans have more modalities than the dataset.
    """
    M, extra = split_channels(configuration, num_input_channels)
    unetrs = [build_unetr(configuration, 1 + extra, num_output_channels) for _ in range(M)]
    network = MultiEncoderUNet(encoders=[unetr.encoder for unetr in unetrs], decoder=unetrs[0].decoder)
    return with_checked_channels(network, num_input_channels)
