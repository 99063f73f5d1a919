"""Draws slices for the page: an image in grey with the segmentation over it, as PNG."""

import io

import numpy as np
from PIL import Image, ImageColor

from magms_nnunet.report.figures import region_colour
from magms_nnunet.serve.job import Preview
from magms_nnunet.serve.problems import Problem

_PIXELS = 512  # of the longer side
_AXES = {"axial": 0, "coronal": 1, "sagittal": 2}  # of (z, y, x)


def shape(preview: Preview) -> dict[str, int]:
    """Return the number of slices of each plane."""
    return {plane: preview.labels.shape[axis] for plane, axis in _AXES.items()}


def best_slices(preview: Preview) -> dict[str, int]:
    """Return the slice of each plane with most segmented voxels; without any, the middle one."""
    found = preview.labels > 0
    best = {}
    for plane, axis in _AXES.items():
        areas = found.sum(axis=tuple(other for other in range(3) if other != axis))
        best[plane] = int(areas.argmax() if areas.any() else len(areas) // 2)
    return best


def draw(preview: Preview, plane: str, index: int, modality: str, opacity: float) -> bytes:
    """Draw a slice as PNG in the radiological view: the patient's right on the left, anterior and superior up.

    Args:
        preview: of the job.
        plane: ``axial``, ``coronal`` or ``sagittal``.
        index: of the slice.
        modality: to show.
        opacity: of the segmentation, from 0 to 1.

    Raises:
        Problem: there is no such slice or modality.
    """
    axis = _AXES.get(plane)
    if axis is None or not 0 <= index < preview.labels.shape[axis]:
        raise Problem(404, f"no slice {index} of plane {plane}: planes are {', '.join(_AXES)}")
    if modality not in preview.images:
        raise Problem(404, f"no slices of {modality}: this job has {', '.join(preview.images)}")
    grey, labels = preview.images[modality].take(index, axis), preview.labels.take(index, axis)
    spacing = [mm for other, mm in enumerate(preview.spacing_mm) if other != axis]
    if axis:  # z points up on the screen
        grey, labels = grey[::-1], labels[::-1]
    colours_of_labels = [(0, 0, 0), *(ImageColor.getrgb(region_colour(label)) for label in range(labels.max()))]
    colours = np.array(colours_of_labels, np.float32)[labels]
    weight = opacity * (labels > 0)[..., None]
    pixels = (1 - weight) * grey[..., None] + weight * colours
    height, width = (n * mm for n, mm in zip(grey.shape, spacing, strict=True))
    scale = _PIXELS / max(height, width)
    picture = Image.fromarray(pixels.round().astype(np.uint8))
    picture = picture.resize((max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.NEAREST)
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()
