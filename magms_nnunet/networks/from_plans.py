"""Builds our networks from any plans of nnU-Net; UNETR takes the patch size and the channels, not the U-Net."""

from typing import TYPE_CHECKING

from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager

from magms_nnunet.cpu.faster import faster_on_cpu
from magms_nnunet.errors import InputError
from magms_nnunet.networks.any_subset_unet import AnySubsetUNet
from magms_nnunet.networks.architecture import check_architecture
from magms_nnunet.networks.input_channels import with_checked_channels
from magms_nnunet.networks.multi_encoder_unet import MultiEncoderUNet

if TYPE_CHECKING:
    from magms_nnunet.networks.unetr import UNETR


def build_multi_encoder_unet(
    configuration: ConfigurationManager,
    num_input_channels: int,
    num_output_channels: int,
    deep_supervision: bool,
    network: type[MultiEncoderUNet] = MultiEncoderUNet,
) -> MultiEncoderUNet:
    """Build the network that the plans describe, with one encoder per modality.

    Args:
        configuration: M is the number of its normalisation schemes, one per channel of the dataset.
        num_input_channels: M, or more: the channels beyond M are the previous stage of a cascade, one-hot.
        num_output_channels: classes or regions.
        deep_supervision: whether the decoder returns logits of every resolution.
        network: class that is made of the encoders and the decoder.

    Raises:
        InputError: the plans have more modalities than the dataset, or a network that is neither PlainConvUNet nor
            ResidualEncoderUNet.
    """
    M, extra = split_channels(configuration, num_input_channels)
    unets = [_unet(configuration, 1 + extra, num_output_channels, deep_supervision) for _ in range(M)]
    built = network(encoders=[unet.encoder for unet in unets], decoder=unets[0].decoder)
    return with_checked_channels(faster_on_cpu(built), num_input_channels)


def build_any_subset_unet(
    configuration: ConfigurationManager, num_input_channels: int, num_output_channels: int, deep_supervision: bool
) -> AnySubsetUNet:
    """Build the network that the plans describe, for any subset of its channels.

    Args:
        configuration: of the plans.
        num_input_channels: modalities, and the channels of a cascade's previous stage.
        num_output_channels: of the logits.
        deep_supervision: whether the network returns logits of every scale in training.

    Raises:
        InputError: the plans have more modalities than the dataset.
    """
    M, _ = split_channels(configuration, num_input_channels)
    unet = _unet(configuration, num_input_channels, num_output_channels, deep_supervision)
    network = AnySubsetUNet(
        encoder=unet.encoder, decoder=unet.decoder, num_modalities=M, num_outputs=num_output_channels
    )
    return with_checked_channels(faster_on_cpu(network), num_input_channels)


def _unet(
    configuration: ConfigurationManager, num_input_channels: int, num_output_channels: int, deep_supervision: bool
) -> PlainConvUNet | ResidualEncoderUNet:
    """Build the plans' own network."""
    check_architecture(configuration)
    unet = get_network_from_plans(
        configuration.network_arch_class_name,
        configuration.network_arch_init_kwargs,
        configuration.network_arch_init_kwargs_req_import,
        num_input_channels,
        num_output_channels,
        allow_init=True,
        deep_supervision=deep_supervision,
    )
    if not isinstance(unet, PlainConvUNet | ResidualEncoderUNet):
        raise InputError(
            f"the plans ask for {configuration.network_arch_class_name}; networks for any subset of the modalities are "
            "made from PlainConvUNet or ResidualEncoderUNet: plan with MAGMSPlanner, ExperimentPlanner or one of "
            "nnU-Net's ResEnc planners"
        )
    return unet


def split_channels(configuration: ConfigurationManager, num_input_channels: int) -> tuple[int, int]:
    """Return the number of modalities, and that of the channels of a cascade's previous stage.

    Raises:
        InputError: the plans have more modalities than the dataset.
    """
    M = len(configuration.normalization_schemes)
    extra = num_input_channels - M
    if extra < 0 or (extra and configuration.previous_stage_name is None):
        raise InputError(
            f"the plans normalise {M} channels, but the dataset has {num_input_channels}: "
            "plan and preprocess this dataset again"
        )
    return M, extra


def build_unetr(configuration: ConfigurationManager, num_input_channels: int, num_output_channels: int) -> "UNETR":
    """Build the plain UNETR, with all modalities (and a cascade's previous stage) as channels of its input.

    Args:
        configuration: of the plans.
        num_input_channels: modalities, and the channels of a cascade's previous stage.
        num_output_channels: of the logits.

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
    """Build UNETR with one transformer per modality.

    Args:
        configuration: of the plans.
        num_input_channels: modalities, and the channels of a cascade's previous stage.
        num_output_channels: of the logits.

    Raises:
        InputError: MONAI cannot be imported, or the plans have more modalities than the dataset.
    """
    M, extra = split_channels(configuration, num_input_channels)
    unetrs = [build_unetr(configuration, 1 + extra, num_output_channels) for _ in range(M)]
    network = MultiEncoderUNet(encoders=[unetr.encoder for unetr in unetrs], decoder=unetrs[0].decoder)
    return with_checked_channels(network, num_input_channels)
