"""Normalisation of a modality from its own voxels only.

nnU-Net crops a case to what is nonzero in *any* channel and takes that union as region and mask of its statistics, so a
modality's normalised values depend on the other files. These schemes use the channel alone: the same
voxels give the same values, whichever other modalities exist. Where all channels have the same support, the values are
those of nnU-Net's schemes.

Plans name them like nnU-Net's own schemes; nnU-Net finds them through :mod:`magms_nnunet.autoload`.
"""

import numpy as np
from acvl_utils.cropping_and_padding.bounding_boxes import bounding_box_to_slice, get_bbox_from_mask
from nnunetv2.preprocessing.cropping.cropping import create_nonzero_mask
from nnunetv2.preprocessing.normalization.default_normalization_schemes import (
    RescaleTo01Normalization,
    ZScoreNormalization,
)


class OwnSupportZScoreNormalization(ZScoreNormalization):
    """Z-score from the channel's own nonzero region (with ``use_mask_for_norm``) or its bounding box (without)."""

    def run(self, image: np.ndarray, seg: np.ndarray | None = None) -> np.ndarray:
        """Return the normalised image, ``(*spatial)`` float32; an empty image stays 0.

        Args:
            image: ``(*spatial)``.
            seg: nnU-Net's union mask, which is not used.
        """
        image = image.astype(self.target_dtype, copy=False)
        support = create_nonzero_mask(image[None])
        if not support.any():
            return image
        if self.use_mask_for_norm:
            return super().run(image, np.where(support, np.int8(0), np.int8(-1)))
        own = _own_box(image, support)
        return (image - own.mean()) / max(own.std(), 1e-8)


class OwnSupportRescaleTo01Normalization(RescaleTo01Normalization):
    """Rescales the channel's own bounding box to 0...1; values outside of it are clipped to that range."""

    def run(self, image: np.ndarray, seg: np.ndarray | None = None) -> np.ndarray:
        """Return the normalised image, ``(*spatial)`` float32; an empty image stays 0.

        Args:
            image: ``(*spatial)``.
            seg: nnU-Net's union mask, which is not used.
        """
        image = image.astype(self.target_dtype, copy=False)
        support = create_nonzero_mask(image[None])
        if not support.any():
            return image
        own = _own_box(image, support)
        return np.clip((image - own.min()) / max(own.max() - own.min(), 1e-8), 0, 1)


def _own_box(image: np.ndarray, support: np.ndarray) -> np.ndarray:
    """Return the bounding box of the support as a contiguous array, so that its sums do not depend on the rest."""
    return np.ascontiguousarray(image[bounding_box_to_slice(get_bbox_from_mask(support))])


OWN_SUPPORT = {
    "ZScoreNormalization": OwnSupportZScoreNormalization.__name__,
    "RescaleTo01Normalization": OwnSupportRescaleTo01Normalization.__name__,
}
"""nnU-Net's scheme -> ours. Its other schemes use fixed constants or none and need no counterpart."""
