"""A decoder without the encoder that it was built for."""

from types import SimpleNamespace
from typing import Any

Encoder = Any
"""An ``nn.Module`` that returns its skips, with the attributes of nnU-Net's encoders: ``conv_op``,
``output_channels``, ``strides`` and ``compute_conv_feature_map_size``."""


def detach_encoder(decoder: Any, encoder: Encoder) -> Any:
    """Return the decoder itself, without the encoder that it was built for.

    nnU-Net's ``UNetDecoder`` registers its encoder, so that the state_dict would hold the encoder's weights twice.
    After construction the decoder needs two lists of the encoder only.

    Args:
        decoder: ``UNetDecoder``, or any other decoder, which stays as it is.
        encoder: the encoder.
    """
    if hasattr(decoder, "encoder"):
        del decoder.encoder
        decoder.encoder = SimpleNamespace(strides=encoder.strides, output_channels=encoder.output_channels)
    return decoder
