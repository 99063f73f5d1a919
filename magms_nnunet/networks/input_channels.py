"""A message for a case that lacks files, which nnU-Net's own prediction may pass to a network."""

from functools import partial
from typing import TypeVar

from torch import Tensor, nn

from magms_nnunet.errors import InputError

Network = TypeVar("Network", bound=nn.Module)


def with_checked_channels(network: Network, num_input_channels: int) -> Network:
    """Make a network refuse any other number of channels, with a message of one line.

    Otherwise a convolution fails, with a message about its own weights.

    Args:
        network: takes ``(B, num_input_channels, *spatial)``.
        num_input_channels: the modalities, and the channels of a cascade's previous stage.

    Returns:
        The network itself.
    """
    network.register_forward_pre_hook(partial(_check, num_input_channels))
    return network


def _check(num_input_channels: int, network: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    given = inputs[0].shape[1]
    if given != num_input_channels:
        raise InputError(
            f"the case has {given} of the {num_input_channels} channels that this model was trained on: "
            "nnUNetv2_predict needs all files of a case; predict cases that lack some with magms_predict"
        )
