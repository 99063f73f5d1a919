"""What the images of each modality look like whatever their scale: how a file given as another modality is noticed.

Raw intensities of MRI mean nothing across scanners. The *shape* of their distribution does: fluid is the dark end of
T1 and the bright end of T2. MAGMSPlanner keeps it in the plans, as percentiles of z-scores. For modalities with units,
such as CT, there are the intensities in nnU-Net's own fingerprint.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from magms_nnunet.errors import InputError
from magms_nnunet.image_files import ImageFileError, Voxels, read_image_file

PLANS_KEY = "magms_appearance"
_INTENSITIES = "foreground_intensity_properties_per_channel"
_PERCENTILES = (5, 10, 25, 50, 75, 90, 95)
_MOST_CASES = 50
_FEWEST_CASES = 5
_FEWEST_VOXELS = 100
_SMALLEST_SD = 0.05  # of a percentile between cases: generated images may have none
# Measured on BraTS, see docs/results.md.
_SWAP = 5.0  # by how much two files must fit better the other way round, in squared standard deviations
_MISFIT, _FIT = 2.5, 1.25  # how far a single file must be from its modality, and how near to another, in SD


def look(voxels: Voxels) -> np.ndarray | None:
    """Percentiles of the z-scores of the nonzero voxels, ``(7,)``; None where there is too little to say."""
    values = voxels.sample[voxels.sample != 0]
    if len(values) < _FEWEST_VOXELS:
        return None
    with np.errstate(over="ignore", invalid="ignore"):  # a damaged file may hold the largest numbers that there are
        mean, sd = values.mean(), values.std()
    if sd == 0 or not np.isfinite([mean, sd]).all():
        return None
    return (np.percentile(values, _PERCENTILES) - mean) / sd


def learn(cases: Sequence[Sequence[str | Path]]) -> dict[str, dict]:
    """What a model's plans keep of its training images.

    Args:
        cases: the files of each, in channel order. Of many, some that are spread evenly are read.

    Returns:
        Channel, as a string, -> ``mean`` and ``sd`` of :func:`look` over the cases, and their number. No channel that
        fewer than five cases show, or whose format SimpleITK does not read.
    """
    looks: dict[int, list[np.ndarray]] = {}
    for files in cases[:: -(-len(cases) // _MOST_CASES) or 1]:
        for channel, path in enumerate(files):
            try:
                content = read_image_file(Path(path))
            except ImageFileError:
                continue  # nnU-Net's planning has complained already
            if content is not None and (found := look(content[1])) is not None:
                looks.setdefault(channel, []).append(found)
    return {
        str(channel): {
            "mean": np.mean(found, axis=0).tolist(),
            "sd": np.std(found, axis=0, ddof=1).tolist(),
            "cases": len(found),
        }
        for channel, found in sorted(looks.items())
        if len(found) >= _FEWEST_CASES
    }


@dataclass(frozen=True)
class Appearance:
    """What is known of each channel.

    Attributes:
        looks: channel -> mean and SD of :func:`look`, ``(7,)`` each, and over how many cases; as :func:`learn` gives
            them, so there are none in plans of other planners.
        ranges: channel -> percentiles 0.5 and 99.5 of the intensities in the foreground, from nnU-Net's fingerprint.
    """

    looks: dict[int, tuple[np.ndarray, np.ndarray, int]]
    ranges: dict[int, tuple[float, float]]

    @classmethod
    def from_plans(cls, plans: dict, modalities: int) -> "Appearance":
        """Of a model's plans.json, for a model with that number of modalities.

        Raises:
            InputError: it does not hold what the planner writes.
        """
        looks, ranges = {}, {}
        try:
            for channel, learned in plans.get(PLANS_KEY, {}).items():
                mean, sd = (np.array(learned[key], np.float64) for key in ("mean", "sd"))
                if mean.shape != (len(_PERCENTILES),) or sd.shape != mean.shape or learned["cases"] < _FEWEST_CASES:
                    raise ValueError
                looks[int(channel)] = mean, sd, int(learned["cases"])
            for channel, found in plans.get(_INTENSITIES, {}).items():
                if "percentile_00_5" in found:
                    ranges[int(channel)] = float(found["percentile_00_5"]), float(found["percentile_99_5"])
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(
                f"plans.json: {PLANS_KEY} or {_INTENSITIES} is damaged: copy it again from whoever trained the model"
            ) from error
        known = range(modalities)
        return cls(
            {channel: of_channel for channel, of_channel in looks.items() if channel in known},
            {channel: of_channel for channel, of_channel in ranges.items() if channel in known},
        )

    def mistaken(self, voxels: dict[int, Voxels]) -> dict[int, int]:
        """Channels whose file looks like another channel's, and which that is; of two swapped files each the other.

        Args:
            voxels: of the files of one case, by the channel that they are given as.
        """
        looks = {channel: found for channel in voxels if (found := look(voxels[channel])) is not None}
        squared = {given: self._squared_distances(found) for given, found in looks.items()}
        squared = {given: of_all for given, of_all in squared.items() if given in of_all}
        gains = {}
        for a, b in combinations(squared, 2):
            as_given, swapped = squared[a][a] + squared[b][b], squared[a][b] + squared[b][a]
            if swapped < as_given / 2:
                gains[a, b] = as_given - swapped
        mistaken: dict[int, int] = {}
        for a, b in sorted(gains, key=gains.get, reverse=True):
            if gains[a, b] > _SWAP and not {a, b} & mistaken.keys():
                mistaken |= {a: b, b: a}
        for given, of_all in squared.items():
            nearest = min(of_all, key=of_all.get)
            if given not in mistaken and of_all[given] > _MISFIT**2 and of_all[nearest] < _FIT**2:
                mistaken[given] = nearest
        for given in voxels.keys() - mistaken.keys():
            if (other := self._by_intensity(given, voxels[given])) is not None:
                mistaken[given] = other
        return mistaken

    def _squared_distances(self, found: np.ndarray) -> dict[int, float]:
        """To each channel: mean squared z-score, less where few cases say what is usual (variance of Student's t)."""
        distances = {}
        for channel, (mean, sd, n) in self.looks.items():
            z = (found - mean) / np.maximum(sd, _SMALLEST_SD)
            distances[channel] = float(np.mean(z**2)) / (1 + 1 / n) * (n - 3) / (n - 1)
        return distances

    def _by_intensity(self, given: int, voxels: Voxels) -> int | None:
        """A channel whose range of intensities holds the file's median, which is far outside that of its own."""
        values = voxels.sample[voxels.sample != 0]
        if given not in self.ranges or not len(values):
            return None
        low, high = self.ranges[given]
        median = float(np.median(values))
        if low - (high - low) <= median <= high + (high - low):
            return None
        return next((channel for channel, (least, most) in self.ranges.items() if least <= median <= most), None)
