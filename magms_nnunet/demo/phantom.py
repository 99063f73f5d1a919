"""A small synthetic dataset in nnU-Net's raw format: skull-stripped "brains" with a tumour, in four modalities.

Each modality matters: edema is bright on FLAIR, fainter on T2 and invisible on T1 and T1c; the core is bright on T1c
and hardly visible elsewhere. The edema lies on one side of the core, so that the core does not show its position.
"""

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter

from magms_nnunet.storage.json_files import write_json

NAME = "Phantom"
LABELS = {"background": 0, "edema": 1, "core": 2}
SHAPE = (26, 30, 25)
"""Voxels along z, y, x."""
SPACING_MM = 6.0
FILE_ENDING = ".nii.gz"

# Mean intensity of CSF, grey and white matter; intensity that edema and core add to the tissue.
CONTRAST = {
    "FLAIR": {"tissue": (0.15, 0.62, 0.50), "edema": 0.40, "core": 0.02},
    "T1": {"tissue": (0.20, 0.50, 0.68), "edema": -0.01, "core": -0.03},
    "T1c": {"tissue": (0.20, 0.52, 0.68), "edema": -0.01, "core": 0.45},
    "T2": {"tissue": (0.95, 0.62, 0.48), "edema": 0.18, "core": 0.03},
}
MODALITIES = tuple(CONTRAST)
NOISE = 0.04
BIAS = 0.08
CSF, GREY, WHITE = range(3)


def phantom_case(seed: int, case: int) -> tuple[np.ndarray, np.ndarray]:
    """Make one patient; the same ``seed`` and ``case`` always give the same voxels.

    Returns:
        Images ``(4, Z, Y, X)`` int16 in the order of MODALITIES, in arbitrary units, above 0 in the brain and 0
        outside; and labels ``(Z, Y, X)`` uint8, the values of LABELS.
    """
    rng = np.random.default_rng((seed, case))
    position = np.stack(np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in SHAPE), indexing="ij"))  # voxels from centre
    semi_axes = np.array(SHAPE) / 2 - rng.uniform(0.5, 2, size=3)
    tissue, brain = _anatomy(rng, position, semi_axes)
    labels = np.where(tissue == CSF, np.uint8(0), _tumour(rng, position, semi_axes))

    gain = rng.uniform(600, 1400, size=len(MODALITIES))  # MRI has no absolute units
    images = np.zeros((len(MODALITIES), *SHAPE), np.int16)
    for channel, contrast in enumerate(CONTRAST.values()):
        image = np.array(contrast["tissue"])[tissue]
        image += np.array([0, contrast["edema"], contrast["core"]])[labels]
        image = gaussian_filter(image, 0.5)  # partial volumes
        image *= np.exp(BIAS * _smooth_noise(rng, 10))
        image += NOISE * rng.standard_normal(SHAPE)
        images[channel] = np.where(brain, np.maximum(gain[channel] * image, 1), 0)
    return images, labels


def _anatomy(rng: np.random.Generator, position: np.ndarray, semi_axes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return tissue ``(Z, Y, X)`` of 0, 1, 2 for CSF, grey and white matter, and the mask of the brain."""
    depth = np.sqrt(sum((p / a) ** 2 for p, a in zip(position, semi_axes, strict=True)))  # 0 centre, 1 surface
    folded = depth + 0.05 * _smooth_noise(rng, 1.2)
    tissue = np.select([folded > 0.95, folded > 0.74], [CSF, GREY], WHITE)
    ventricles = position / np.array([0.22, 0.38, 0.1]).reshape(3, 1, 1, 1) / semi_axes.reshape(3, 1, 1, 1)
    for side in (-1, 1):
        offset = np.array([0, 0, 1.3 * side]).reshape(3, 1, 1, 1)
        tissue[((ventricles - offset) ** 2).sum(0) < 1] = CSF
    return tissue, depth < 1


def _tumour(rng: np.random.Generator, position: np.ndarray, semi_axes: np.ndarray) -> np.ndarray:
    """Return a label map ``(Z, Y, X)`` uint8: a core anywhere in the brain, and edema on one side of it."""
    core_radius, edema_radius = rng.uniform(3.2, 4.5), rng.uniform(5, 6.5)  # voxels
    core_centre = _direction(rng) * semi_axes * rng.uniform(0.25, 0.6)
    edema_centre = core_centre + _direction(rng) * edema_radius * rng.uniform(0.6, 0.9)
    edema_centre /= max(1, np.linalg.norm(edema_centre / semi_axes) / 0.6)  # the larger part of it in the brain
    labels = np.zeros(SHAPE, np.uint8)
    inside = sum((p / a) ** 2 for p, a in zip(position, semi_axes, strict=True)) < 0.9**2
    for name, centre, radius in (("edema", edema_centre, edema_radius), ("core", core_centre, core_radius)):
        distance = np.linalg.norm(position - centre.reshape(3, 1, 1, 1), axis=0) / radius
        labels[inside & (distance + 0.12 * _smooth_noise(rng, 2) < 1)] = LABELS[name]
    return labels


def _direction(rng: np.random.Generator) -> np.ndarray:
    vector = rng.standard_normal(3)
    return vector / np.linalg.norm(vector)


def _smooth_noise(rng: np.random.Generator, sigma: float) -> np.ndarray:
    """Return noise ``(Z, Y, X)`` of mean 0 and standard deviation 1; ``sigma`` in voxels."""
    noise = gaussian_filter(rng.standard_normal(SHAPE), sigma)
    return (noise - noise.mean()) / noise.std()


def write_phantom(dataset: Path, test: Path, train_cases: int, test_cases: int, seed: int = 0) -> None:
    """Write a raw dataset and held-out cases; existing files of the same names are replaced.

    Args:
        dataset: folder of the dataset: imagesTr, labelsTr, dataset.json.
        test: folder of the held-out cases: images, labels.
        train_cases: number of cases of the dataset.
        test_cases: number of held-out cases.
        seed: of the voxels.
    """
    for case in range(train_cases + test_cases):
        if case < train_cases:
            _write_case(dataset / "imagesTr", dataset / "labelsTr", seed, case)
        else:
            _write_case(test / "images", test / "labels", seed, case)
    description = {
        "channel_names": {str(channel): name for channel, name in enumerate(MODALITIES)},
        "labels": LABELS,
        "numTraining": train_cases,
        "file_ending": FILE_ENDING,
    }
    write_json(dataset / "dataset.json", description)


def _write_case(image_folder: Path, label_folder: Path, seed: int, case: int) -> None:
    images, labels = phantom_case(seed, case)
    name = f"phantom_{case:03d}"
    paths = [image_folder / f"{name}_{channel:04d}{FILE_ENDING}" for channel in range(len(MODALITIES))]
    for path, array in zip([*paths, label_folder / f"{name}{FILE_ENDING}"], [*images, labels], strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        volume = sitk.GetImageFromArray(array)
        volume.SetSpacing([SPACING_MM] * 3)
        sitk.WriteImage(volume, str(path))
