"""The Dice that motion between scans costs, and what ``--register rigid`` regains.

    python benchmarks/registration.py MODEL DATASET --fold 0 --cases 30

All modalities but T1c are turned about random axes and shifted in random directions by a known amount, as if the
patient had moved, then predicted as they are and after registration to T1c.
"""

import argparse
import json
import math
import warnings
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from magms_nnunet.errors import InputError, InputWarning
from magms_nnunet.images.registration import register
from magms_nnunet.images.resample import resample
from magms_nnunet.inference.predictor import Predictor
from magms_nnunet.metrics.dice import dice_per_region, regions_from_dataset_json
from magms_nnunet.metrics.statistics import bootstrap_interval

FIXED = "T1c"


def motion(image: sitk.Image, degrees: float, shift_mm: float, rng: np.random.Generator) -> sitk.VersorRigid3DTransform:
    """A rotation about the centre of an image and a shift, both in random directions."""
    axis, direction = (vector / np.linalg.norm(vector) for vector in rng.normal(size=(2, 3)))
    centre = image.TransformContinuousIndexToPhysicalPoint([(size - 1) / 2 for size in image.GetSize()])
    transform = sitk.VersorRigid3DTransform()
    transform.SetCenter(centre)
    transform.SetRotation(axis.tolist(), math.radians(degrees))
    transform.SetTranslation((shift_mm * direction).tolist())
    return transform


def registered(images: dict[str, sitk.Image]) -> tuple[dict[str, sitk.Image], int]:
    """The images on T1c, as ``--grid T1c --register rigid`` brings them there, and how many were refused."""
    moved, refused = {FIXED: images[FIXED]}, 0
    for name, image in images.items():
        if name != FIXED:
            try:
                moved[name] = resample(image, images[FIXED], register(images[FIXED], image, name).transform)
            except InputError:  # magms_predict would end here; without registration the image stays as it is
                moved[name], refused = image, refused + 1
    return moved, refused


def main() -> None:
    """Print the mean Dice as published, moved and registered, and paired differences with 95 % intervals."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model", type=Path)
    p.add_argument("dataset", type=Path)
    p.add_argument("--fold", type=int, default=0)
    p.add_argument("--cases", type=int, default=30, help="of the fold's validation part, the first ones")
    p.add_argument("--degrees", type=float, default=3.0)
    p.add_argument("--mm", type=float, default=4.0)
    args = p.parse_args()
    warnings.simplefilter("ignore", InputWarning)
    predictor = Predictor(args.model, folds=[args.fold], device="cpu", mirroring=False)
    regions, names = regions_from_dataset_json(predictor.model.dataset_json), predictor.modalities.names
    splits = json.loads((args.dataset / "splits_final.json").read_text())
    rng, rows, refused = np.random.default_rng(0), [], 0
    for case in splits[args.fold]["val"][: args.cases]:
        files = [args.dataset / "imagesTr" / f"{case}_{channel:04d}.nii.gz" for channel in range(len(names))]
        images = {name: sitk.ReadImage(str(file)) for name, file in zip(names, files, strict=True)}
        reference = sitk.GetArrayFromImage(sitk.ReadImage(str(args.dataset / "labelsTr" / f"{case}.nii.gz")))
        moved = {
            name: image if name == FIXED else resample(image, image, motion(image, args.degrees, args.mm, rng))
            for name, image in images.items()
        }
        back, count = registered(moved)
        refused += count
        row = []
        for given in (images, moved, back):
            labels = sitk.GetArrayFromImage(predictor.predict(given))
            row.append(float(np.mean(list(dice_per_region(reference, labels, regions).values()))))
        rows.append(row)
        print(case, *(f"{dice:.3f}" for dice in row), flush=True)
    dice = np.array(rows)
    print(f"{len(dice)} cases, {args.degrees:g} degrees, {args.mm:g} mm, {refused} registrations refused")
    for name, values in zip(("as published", "moved", "registered"), dice.T, strict=True):
        print(f"{name}: {values.mean():.3f}")
    for name, values in (("lost", dice[:, 1] - dice[:, 0]), ("regained", dice[:, 2] - dice[:, 1])):
        low, high = bootstrap_interval(values)
        print(f"{name}: {values.mean():+.3f} [{low:+.3f}, {high:+.3f}]")


if __name__ == "__main__":
    main()
