"""UNETR, a vision transformer with a convolutional decoder (Hatamizadeh et al., arXiv 2103.10504), for any patch size.

MONAI's UNETR is divided as nnU-Net's U-Nets are: an encoder that returns skips, and a decoder that takes them. MONAI
uses the outputs of the 4th, 7th, 10th and last layer, as the authors of UNETR did in their trainings.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from monai.networks.nets import unetr as monai_unetr
from torch import Tensor, nn

from magms_nnunet.errors import InputError, format_size

TOKEN_VOXELS = 16
"""Edge of the cube that becomes one token."""
SKIP_LAYERS = (3, 6, 9)
"""Transformer layers whose tokens become skips, counted from 0: at 1/2, 1/4 and 1/8 of the resolution."""


class UNETREncoder(nn.Module):
    """The transformer, and the convolutions that turn its tokens into skips.

    Args:
        unetr: network whose layers are used.
        patch_size: voxels of every input, along 2 or 3 axes; any numbers.
        feature_size: channels at full resolution.

    Attributes:
        conv_op: ``Conv2d`` or ``Conv3d``.
        output_channels: of the skips, as in nnU-Net's encoders.
    """

    def __init__(self, unetr: monai_unetr.UNETR, patch_size: Sequence[int], feature_size: int):
        super().__init__()
        self.vit = unetr.vit
        for block in self.vit.blocks:  # MONAI makes weights for cross-attention that it never uses, which DDP refuses
            del block.cross_attn, block.norm_cross_attn
        self.image_block = unetr.encoder1
        self.token_blocks = nn.ModuleList([unetr.encoder2, unetr.encoder3, unetr.encoder4])
        self.patch_size = tuple(patch_size)
        self.conv_op = type(self.vit.patch_embedding.patch_embeddings)
        self.output_channels = [*(feature_size * 2**level for level in range(4)), unetr.hidden_size]

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the skips of ``x``, ``(B, C, *patch_size)``: highest resolution first, bottleneck last.

        Their sizes are those of the patch padded to whole tokens, divided by 1, 2, 4, 8 and 16.

        Raises:
            InputError: the input has another size.
        """
        if tuple(x.shape[2:]) != self.patch_size:
            raise InputError(
                f"this UNETR takes patches of {format_size(self.patch_size)} voxels, for which its positions were "
                f"learned; got {format_size(x.shape[2:])}: train and predict with the same plans"
            )
        x = F.pad(x, _margins(self.patch_size))
        grid = [size // TOKEN_VOXELS for size in x.shape[2:]]
        last, layers = self.vit(x)
        tokens = [*(layers[layer] for layer in SKIP_LAYERS), last]
        *skips, bottleneck = (t.transpose(1, 2).reshape(*t.shape[::2], *grid) for t in tokens)
        skips = [block(skip) for block, skip in zip(self.token_blocks, skips, strict=True)]
        return [self.image_block(x), *skips, bottleneck]


class UNETRDecoder(nn.Module):
    """Logits from the skips of a :class:`UNETREncoder`.

    Args:
        unetr: network whose layers are used.
        patch_size: of the encoder.

    Attributes:
        deep_supervision: set by nnU-Net and without effect, because there are only logits of full resolution.
    """

    def __init__(self, unetr: monai_unetr.UNETR, patch_size: Sequence[int]):
        super().__init__()
        self.up_blocks = nn.ModuleList([unetr.decoder5, unetr.decoder4, unetr.decoder3, unetr.decoder2])
        self.head = unetr.out
        self.patch_size = tuple(patch_size)
        self.deep_supervision = False

    def forward(self, skips: list[Tensor]) -> Tensor:
        """Return logits ``(B, classes, *patch_size)`` from skips as :meth:`UNETREncoder.forward` returns them."""
        *skips, x = skips
        for block, skip in zip(self.up_blocks, reversed(skips), strict=True):
            x = block(x, skip)
        return F.pad(self.head(x), [-margin for margin in _margins(self.patch_size)])


class UNETR(nn.Module):
    """UNETR in two parts, ``encoder`` and ``decoder``; the defaults are the paper's (ViT-B/16).

    Args:
        in_channels: channels of the images.
        out_channels: channels of the logits.
        patch_size: voxels of every input, along 2 or 3 axes.
        feature_size: channels at full resolution, doubled at every lower one.
        hidden_size: of a token.
        mlp_dim: width within a transformer layer.
        num_heads: of its attention.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        patch_size: Sequence[int],
        *,
        feature_size: int = 16,
        hidden_size: int = 768,
        mlp_dim: int = 3072,
        num_heads: int = 12,
    ):
        super().__init__()
        unetr = monai_unetr.UNETR(
            in_channels,
            out_channels,
            [size + -size % TOKEN_VOXELS for size in patch_size],
            feature_size=feature_size,
            hidden_size=hidden_size,
            mlp_dim=mlp_dim,
            num_heads=num_heads,
            norm_name="instance",
            spatial_dims=len(patch_size),
        )
        self.encoder = UNETREncoder(unetr, patch_size, feature_size)
        self.decoder = UNETRDecoder(unetr, patch_size)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``(B, out_channels, *patch_size)`` of ``x``, ``(B, in_channels, *patch_size)``."""
        return self.decoder(self.encoder(x))


def _margins(patch_size: Sequence[int]) -> list[int]:
    """Return the padding to whole tokens, as :func:`F.pad` takes it: before and after each axis, last axis first.

    The two are equal where possible, so that a mirrored patch has the same position.
    """
    missing = [-size % TOKEN_VOXELS for size in reversed(patch_size)]
    return [margin for total in missing for margin in (total // 2, total - total // 2)]
