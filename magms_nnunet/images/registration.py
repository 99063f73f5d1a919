"""Rigid registration of one patient's images by mutual information, from the position that the headers give."""

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from magms_nnunet.errors import InputError

if TYPE_CHECKING:
    import SimpleITK as sitk

MOST_MM, MOST_DEGREES = 30.0, 20.0
"""The largest plausible motion of a patient; a registration that moves an image further has probably failed."""

_BINS, _SEED = 50, 1
_SAMPLES = 300_000  # voxels that are compared, at the finest level


@dataclass(frozen=True)
class Registration:
    """The result of a registration.

    Attributes:
        transform: from positions of the fixed image to those of the moving one.
        report: its part of the JSON.
    """

    transform: "sitk.Transform"
    report: dict


def register(fixed: "sitk.Image", moving: "sitk.Image", label: str) -> Registration:
    """Find the rigid transform of largest mutual information (Mattes).

    Args:
        fixed: image whose grid the others are brought to.
        moving: image of the same patient that is moved.
        label: of the moving image, for messages.

    Raises:
        InputError: the registration fails, exceeds the bounds, or does not improve the metric.
    """
    import SimpleITK as sitk

    fixed, moving = (sitk.Cast(image, sitk.sitkFloat32) for image in (fixed, moving))
    start = sitk.Euler3DTransform()
    start.SetCenter(fixed.TransformContinuousIndexToPhysicalPoint([(size - 1) / 2 for size in fixed.GetSize()]))
    method = _metric(fixed)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetOptimizerAsRegularStepGradientDescent(2.0, 1e-4, 300, 0.6, 1e-8)  # mm at first, at last, steps
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([4, 2, 1])
    method.SetSmoothingSigmasPerLevel([2, 1, 0])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetInitialTransform(start, inPlace=False)
    try:
        before = _value(fixed, moving, start)
        found = sitk.Euler3DTransform(method.Execute(fixed, moving).GetNthTransform(0))
        after = _value(fixed, moving, found)
    except RuntimeError as error:
        raise InputError(f"{label} cannot be registered (they hardly overlap): give images that are") from error
    moved_mm, degrees = displacement_mm(fixed, found), angle_degrees(found)
    by = f"moves {label} by up to {moved_mm:.1f} mm and {degrees:.1f} degrees"
    if moved_mm > MOST_MM or degrees > MOST_DEGREES:
        bounds = f"{MOST_MM:g} mm or {MOST_DEGREES:g} degrees"
        raise InputError(f"the registration {by}, more than {bounds}: look at the images")
    if after > before:
        raise InputError(f"the registration {by} and does not improve the match: leave out --register")
    report = {
        "centre_mm": [*found.GetCenter()],
        "rotation_degrees": np.degrees([found.GetAngleX(), found.GetAngleY(), found.GetAngleZ()]).tolist(),
        "translation_mm": [*found.GetTranslation()],
        "moved_mm": moved_mm,
        "turned_degrees": degrees,
        "mutual_information_before": -before,
        "mutual_information_after": -after,
    }
    return Registration(found, report)


def displacement_mm(image: "sitk.Image", transform: "sitk.Transform") -> float:
    """Return the largest motion of any corner of an image, in mm."""
    corners = product(*((0, size - 1) for size in image.GetSize()))
    points = np.array([image.TransformIndexToPhysicalPoint(corner) for corner in corners])
    moved = np.array([transform.TransformPoint(point) for point in points.tolist()])
    return float(np.linalg.norm(moved - points, axis=1).max())


def angle_degrees(transform: "sitk.Euler3DTransform") -> float:
    """Return the angle of a rotation about its own axis, in degrees."""
    matrix = np.reshape(transform.GetMatrix(), (3, 3))
    return float(np.degrees(np.arccos(np.clip((np.trace(matrix) - 1) / 2, -1, 1))))


def _metric(fixed: "sitk.Image") -> "sitk.ImageRegistrationMethod":
    import SimpleITK as sitk

    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(_BINS)
    method.SetMetricSamplingPercentage(min(1.0, _SAMPLES / fixed.GetNumberOfPixels()), _SEED)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetNumberOfThreads(1)  # the sum over threads depends on their number
    return method


def _value(fixed: "sitk.Image", moving: "sitk.Image", transform: "sitk.Transform") -> float:
    """Return the metric over regularly chosen voxels: the same ones before and after."""
    method = _metric(fixed)
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetInitialTransform(transform, inPlace=False)
    return method.MetricEvaluate(fixed, moving)
