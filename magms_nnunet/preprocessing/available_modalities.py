"""The modalities that the preprocessed training cases have; a channel that is NaN everywhere is absent."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from magms_nnunet.errors import InputError, one_line
from magms_nnunet.preprocessing.training_cases import Dataset

_RAW = "nnUNet_raw"


def available_channels(images, count: int) -> tuple[bool, ...]:
    """Return which of the first ``count`` channels a case has; all of them where each is NaN: such a file is damaged.

    Args:
        images: ``(C, *spatial)``, an array in memory or on the disk.
        count: M.
    """
    if count == 1:
        return (True,)
    corner = np.asarray(images[(slice(None), *[slice(0, 1)] * (len(images.shape) - 1))]).reshape(-1)
    available = tuple(
        channel >= len(corner) or not (np.isnan(corner[channel]) and np.isnan(np.asarray(images[channel])).all())
        for channel in range(count)
    )
    return available if any(available) else (True,) * count


@dataclass(frozen=True, repr=False)  # nnU-Net writes the trainer's attributes into debug.json, and these name patients
class AvailableModalities:
    """The modalities that the cases of a fold have.

    Attributes:
        count: M.
        cases: name -> whether the case has each modality, of the cases that lack some; the others have all.
    """

    count: int
    cases: dict[str, tuple[bool, ...]] = field(default_factory=dict)

    @classmethod
    def of_datasets(cls, datasets: Iterable[Dataset], count: int) -> "AvailableModalities":
        """Read the modalities from the preprocessed cases, by one voxel of each channel."""
        cases = {}
        for dataset in datasets:
            for case in dataset.identifiers:
                available = available_channels(dataset.load_case(case)[0], count)
                if not all(available):
                    cases[case] = available
        return cls(count, cases)

    def incomplete(self) -> list[tuple[str, list[int]]]:
        """Return the cases that lack modalities, and the channels that they lack."""
        return [(case, [m for m, has in enumerate(row) if not has]) for case, row in self.cases.items()]

    def rarity(self, training: Sequence[str], cap: float) -> list[float]:
        """Return min(cap, N / N_m) of each modality, which N_m of the N training cases have.

        Args:
            training: names of these cases; :meth:`check` makes sure that each modality is in one of them.
            cap: largest value; 1 makes all values 1.
        """
        rows = [self.cases.get(case, (True,) * self.count) for case in training]
        return [min(cap, len(rows) / sum(of_modality)) for of_modality in zip(*rows, strict=True)]

    def of_batch(self, keys: Sequence[str]) -> Tensor | None:
        """Return bool ``(B, M)`` for the cases of a batch; None: each has all modalities."""
        if not any(key in self.cases for key in keys):
            return None
        return torch.tensor([self.cases.get(key, (True,) * self.count) for key in keys])

    def check(self, datasets: Iterable[Dataset], names: Sequence[str], file_ending: str, dataset: str) -> None:
        """Check that each modality is in a training case, and that no image has been added since preprocessing.

        Args:
            datasets: of training and validation.
            names: of the modalities.
            file_ending: of images.
            dataset: name of the dataset, whose raw folder need not be there.

        Raises:
            InputError: names the case or the modality.
        """
        if not self.cases:
            return
        training, *_ = datasets
        rows = [self.cases.get(case, (True,) * self.count) for case in training.identifiers]
        if nowhere := [
            name for name, in_cases in zip(names, zip(*rows, strict=True), strict=True) if not any(in_cases)
        ]:
            raise InputError(
                one_line(f"no training case of this fold has {' or '.join(nowhere)}: train another fold, or all")
            )
        raw = os.environ.get(_RAW)
        if not raw:
            return
        images = Path(raw, dataset, "imagesTr")
        for case, lacks in self.incomplete():
            if come := [m for m in lacks if (images / f"{case}_{m:04d}{file_ending}").is_file()]:
                file = f"{case}_{come[0]:04d}{file_ending}"
                raise InputError(
                    one_line(
                        f"{case}: {file} ({names[come[0]]}) was added after preprocessing: plan and preprocess again"
                    )
                )
