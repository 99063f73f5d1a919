"""The appearance of each modality's images, whatever their scale, to notice files that were mistaken for each other.

Raw intensities of MRI mean nothing across scanners. The *shape* of their distribution does: fluid is the dark end of
T1 and the bright end of T2. MAGMSPlanner keeps it in the plans, as percentiles of z-scores. For modalities with units,
such as CT, there are the intensities in nnU-Net's own fingerprint.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np

from magms_nnunet.errors import InputError
from magms_nnunet.images.files import ImageFileError, Voxels, read_image_file
from magms_nnunet.images.grid import Grid

PLANS_KEY = "magms_appearance"
_INTENSITIES = "foreground_intensity_properties_per_channel"
_PERCENTILES = (5, 10, 25, 50, 75, 90, 95)
_MOST_CASES = 50
_FEWEST_CASES = 5
_FEWEST_VOXELS = 100
_SMALLEST_SD = 0.05  # of a percentile between cases: generated images may have none
# Distances between looks are in standard deviations between training cases. Measured on BraTS, see docs/results.md.
_SWAP = 5.0  # by how much two files must fit better the other way round, in squared standard deviations
_FAR_SD = 2.5  # a single file is taken for another modality's where it is at least so far from its own
_NEAR_SD = 1.25  # and at most so far from the other
_STRANGE_SD = 3.25  # a file that is further from all modalities is none of them; of 4,300 right ones none was
_STRANGE_SHARE = 0.02  # so is one of which more than this is negative where training images were not
_FULL = 1.75  # times the largest training image: of 15 brains none was larger, of 110 heads all were
_NO_THICKNESS_MM = 999  # nnU-Net's for a 2-D image


def intensity_profile(voxels: Voxels) -> np.ndarray | None:
    """Return percentiles of the z-scores of the nonzero voxels, ``(7,)``; None where too few differ."""
    values = voxels.sample[voxels.sample != 0]
    if len(values) < _FEWEST_VOXELS:
        return None
    with np.errstate(over="ignore", invalid="ignore"):  # a damaged file may hold the largest numbers that there are
        mean, sd = values.mean(), values.std()
    if sd == 0 or not np.isfinite([mean, sd]).all():
        return None
    return (np.percentile(values, _PERCENTILES) - mean) / sd


def below_zero(voxels: Voxels) -> float:
    """Return the share of voxels that are clearly negative, by more than a tenth of the bright ones.

    Magnitude images of MRI have none.
    """
    if not len(voxels.sample):
        return 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        bright = np.quantile(np.abs(voxels.sample), 0.99)
    return float(np.mean(voxels.sample < -0.1 * bright))


def filled_ml(grid: Grid, voxels: Voxels) -> float | None:
    """Return the volume of the voxels that are not 0; None for an image that is no volume.

    A brain fills 1.1 to 1.8 litres. The same image with skull, or with noise in the air around it, fills several.
    """
    if len(grid.size) != 3 or _NO_THICKNESS_MM in grid.spacing_mm or not len(voxels.sample):
        return None
    return float(np.mean(voxels.sample != 0) * np.prod(grid.size) * np.prod(grid.spacing_mm) / 1000)


def learn_appearance(cases: Sequence[Mapping[int, str | Path]]) -> dict[str, dict]:
    """Summarise the training images for the plans of a model.

    Args:
        cases: files of each case, by channel. Of many cases, some at even distances are read.

    Returns:
        Channel, as a string, -> ``mean`` and ``sd`` of :func:`look` over the cases, their number, the largest share
        that is ``below_zero``, and ``largest_ml``, the largest of :func:`filled_ml`. Channels of fewer than five cases,
        or in a format that SimpleITK does not read, are left out.
    """
    looks: dict[int, list[np.ndarray]] = {}
    negative: dict[int, float] = {}
    filled: dict[int, float] = {}
    for files in cases[:: -(-len(cases) // _MOST_CASES) or 1]:
        for channel, path in files.items():
            try:
                content = read_image_file(Path(path))
            except ImageFileError:
                continue  # nnU-Net's planning has reported it
            if content is not None and (found := intensity_profile(content[1])) is not None:
                looks.setdefault(channel, []).append(found)
                negative[channel] = max(negative.get(channel, 0.0), below_zero(content[1]))
                filled[channel] = max(filled.get(channel, 0.0), filled_ml(*content) or 0.0)
    return {
        str(channel): {
            "mean": np.mean(found, axis=0).tolist(),
            "sd": np.std(found, axis=0, ddof=1).tolist(),
            "cases": len(found),
            "below_zero": negative[channel],
            "largest_ml": filled[channel],
        }
        for channel, found in sorted(looks.items())
        if len(found) >= _FEWEST_CASES
    }


@dataclass(frozen=True)
class Appearance:
    """The appearance of each channel in the training images.

    Attributes:
        looks: channel -> mean and SD of :func:`look`, ``(7,)`` each, and over how many cases; as :func:`learn` gives
            them, so there are none in plans of other planners.
        ranges: channel -> percentiles 0.5 and 99.5 of the intensities in the foreground, from nnU-Net's fingerprint.
        negative: the largest :func:`below_zero` of a training image of any channel; 1 where it is unknown.
        largest_ml: channel -> the largest volume that a training image fills; empty where it is unknown.
    """

    looks: dict[int, tuple[np.ndarray, np.ndarray, int]]
    ranges: dict[int, tuple[float, float]]
    negative: float = 1.0
    largest_ml: Mapping[int, float] = field(default_factory=dict)

    @classmethod
    def from_plans(cls, plans: dict, modalities: int) -> "Appearance":
        """Read the appearance from the plans of a model with that number of modalities.

        Raises:
            InputError: the plans hold something else than the planner writes.
        """
        looks, ranges, negative, largest = {}, {}, [], {}
        try:
            for channel, learned in plans.get(PLANS_KEY, {}).items():
                mean, sd = (np.array(learned[key], np.float64) for key in ("mean", "sd"))
                if mean.shape != (len(_PERCENTILES),) or sd.shape != mean.shape or learned["cases"] < _FEWEST_CASES:
                    raise ValueError
                looks[int(channel)] = mean, sd, int(learned["cases"])
                negative.append(float(learned.get("below_zero", 1)))
                largest[int(channel)] = float(learned.get("largest_ml", 0))
            for channel, found in plans.get(_INTENSITIES, {}).items():
                if "percentile_00_5" in found:
                    ranges[int(channel)] = float(found["percentile_00_5"]), float(found["percentile_99_5"])
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(
                f"plans.json: {PLANS_KEY} or {_INTENSITIES} is damaged: copy it again from whoever trained the model"
            ) from error
        all_channels = range(modalities)
        return cls(
            {channel: of_channel for channel, of_channel in looks.items() if channel in all_channels},
            {channel: of_channel for channel, of_channel in ranges.items() if channel in all_channels},
            max(negative, default=1.0),
            {channel: ml for channel, ml in largest.items() if ml > 0},
        )

    def mistaken(self, voxels: dict[int, Voxels]) -> dict[int, int]:
        """Return channel -> the other channel that its file looks like; two swapped files name each other.

        Args:
            voxels: of the files of one case, by the channel that they are given as.
        """
        squared = self._of_files(voxels)
        gains = {}
        for a, b in combinations(squared, 2):
            as_given, swapped = squared[a][a] + squared[b][b], squared[a][b] + squared[b][a]
            if swapped < as_given / 2:
                gains[a, b] = as_given - swapped
        mistaken: dict[int, int] = {}
        for a, b in sorted(gains, key=lambda pair: gains[pair], reverse=True):
            if gains[a, b] > _SWAP and not {a, b} & mistaken.keys():
                mistaken |= {a: b, b: a}
        for given, of_all in squared.items():
            nearest = min(of_all, key=lambda channel: of_all[channel])
            if given not in mistaken and of_all[given] > _FAR_SD**2 and of_all[nearest] < _NEAR_SD**2:
                mistaken[given] = nearest
        for given in voxels.keys() - mistaken.keys():
            if (other := self._by_intensity(given, voxels[given])) is not None:
                mistaken[given] = other
        return mistaken

    def all_resemble(self, voxels: dict[int, Voxels]) -> int | None:
        """Return the channel that at least three files all look like, although each was given as another.

        Args:
            voxels: of the files of one case, by the channel that they are given as.
        """
        squared = self._of_files(voxels)
        if len(squared) < 3:
            return None
        as_given = sum(of_all[given] for given, of_all in squared.items())
        totals = {
            channel: sum(of_all[channel] for of_all in squared.values())
            for channel in self.looks
            if all(of_all[channel] < _FAR_SD**2 for of_all in squared.values())
        }
        channel = min(totals, key=lambda channel: totals[channel], default=None)
        if channel is None or totals[channel] > as_given / 2 or as_given - totals[channel] < _SWAP:
            return None
        return channel

    def unlike_all(self, voxels: dict[int, Voxels]) -> list[int]:
        """Return the channels whose file looks like no channel at all: another organ, another kind of image, padding.

        Args:
            voxels: of the files of one case, by the channel that they are given as.
        """
        squared = self._of_files(voxels)
        return [
            given
            for given, of_all in squared.items()
            if min(of_all.values()) > _STRANGE_SD**2 or below_zero(voxels[given]) > self.negative + _STRANGE_SHARE
        ]

    def overfull(self, images: Mapping[int, tuple[Grid, Voxels]]) -> dict[int, float]:
        """Return channel -> volume in ml, where a file fills far more than any training image."""
        filled = {channel: filled_ml(*image) for channel, image in images.items() if channel in self.largest_ml}
        return {channel: ml for channel, ml in filled.items() if ml and ml > _FULL * self.largest_ml[channel]}

    def _of_files(self, voxels: dict[int, Voxels]) -> dict[int, dict[int, float]]:
        """Return the squared distances of each file to each channel, where the file's own channel is known."""
        looks = {channel: found for channel in voxels if (found := intensity_profile(voxels[channel])) is not None}
        return {given: self._squared_distances(found) for given, found in looks.items() if given in self.looks}

    def _squared_distances(self, found: np.ndarray) -> dict[int, float]:
        """Return the mean squared z-score to each channel, reduced for few cases (variance of Student's t)."""
        distances = {}
        for channel, (mean, sd, n) in self.looks.items():
            z = (found - mean) / np.maximum(sd, _SMALLEST_SD)
            distances[channel] = float(np.mean(z**2)) / (1 + 1 / n) * (n - 3) / (n - 1)
        return distances

    def _by_intensity(self, given: int, voxels: Voxels) -> int | None:
        """Return a channel whose range of intensities holds the median of a file that is far outside its own range."""
        values = voxels.sample[voxels.sample != 0]
        if given not in self.ranges or not len(values):
            return None
        low, high = self.ranges[given]
        median = float(np.median(values))
        if low - (high - low) <= median <= high + (high - low):
            return None
        return next((channel for channel, (least, most) in self.ranges.items() if least <= median <= most), None)
