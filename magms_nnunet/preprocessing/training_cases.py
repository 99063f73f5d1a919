"""Finds preprocessed cases with another number of channels, or with images of one value everywhere."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from magms_nnunet.errors import InputError, listing, one_line

_BOX = 9  # voxels along each axis: where those in the middle differ, the others need not be read


class Dataset(Protocol):
    """nnU-Net's dataset of preprocessed cases."""

    identifiers: Sequence[str]

    def load_case(self, identifier: str) -> tuple:
        """Return images ``(C, *spatial)``, which may be on the disk, then labels and more."""


def check_cases(datasets: Sequence[Dataset], names: Sequence[str]) -> str | None:
    """Check that each case has all modalities.

    Args:
        datasets: for training and for validation.
        names: of the modalities, in channel order.

    Returns:
        A warning that names the cases with a channel of one value everywhere; None: no case has one.

    Raises:
        InputError: cases have another number of channels; the message names them and a remedy.
    """
    incomplete, empty = {}, {}
    for dataset in datasets:
        for case in dataset.identifiers:
            images = dataset.load_case(case)[0]
            if images.shape[0] != len(names):
                incomplete[case] = f"{case} ({images.shape[0]} of {len(names)} channels)"
            elif constant := [name for channel, name in enumerate(names) if _is_constant(images, channel)]:
                empty[case] = f"{case} ({', '.join(constant)})"
    if incomplete:
        raise InputError(
            f"{len(incomplete)} preprocessed cases do not have all modalities: "
            f"{one_line(listing(incomplete.values()))}: add their files, or move the cases out of imagesTr and "
            "labelsTr, then plan and preprocess again"
        )
    if not empty:
        return None
    return (
        f"{len(empty)} cases hold one value everywhere in a modality: {listing(empty.values())}: the model learns from "
        "that as from an image; put real images in, or train without these cases"
    )


def _is_constant(images: np.ndarray, channel: int) -> bool:
    """Return whether a channel of ``images``, ``(C, *spatial)``, is constant up to the rounding of resampling."""
    middle = tuple(slice(max(0, (n - _BOX) // 2), (n + _BOX) // 2) for n in images.shape[1:])
    return all(float(np.ptp(np.asarray(images[(channel, *where)]))) < 1e-6 for where in (middle, (...,)))
