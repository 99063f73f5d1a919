"""Trains a tiny network for a step and predicts with it: what a user will do, in seconds."""

import traceback
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from time import perf_counter

import numpy as np

from magms_nnunet.environment.finding import FAIL, OK, Finding, one_line

NAMES = ("A", "B")
SHAPE = (19, 17, 18)  # larger than the patch, so that the window slides
SPACING_MM = (1.0, 1.5, 1.0)


def self_test(home: Path, device: str) -> Finding:
    """A training step, then a prediction from the first modality and one from all.

    Args:
        home: an empty folder that nnUNet_preprocessed and nnUNet_results point to.
        device: ``cpu`` or ``cuda``.
    """
    subject, start = "self-test", perf_counter()
    try:
        problem = _problem(home, device)
    except Exception as error:
        traceback.print_exc()  # seen with --debug
        return Finding(FAIL, subject, f"on {device}: {one_line(error)}", "magms_doctor --debug shows where")
    if problem:
        return Finding(FAIL, subject, f"on {device}: {problem}", "install the tested versions (constraints.txt)")
    seconds = perf_counter() - start
    return Finding(
        OK, subject, f"trained a step and predicted from one and from all modalities on {device}, {seconds:.0f} s"
    )


def _problem(home: Path, device: str) -> str | None:
    from magms_nnunet.environment.tiny_model import make_tiny_model
    from magms_nnunet.inference.predictor import Predictor

    folder, loss = make_tiny_model(home, NAMES, device=device)
    if not isfinite(loss):
        return f"the loss of a training step is {loss}"
    predictor = Predictor(folder, device=device, mirroring=False)
    for names in (NAMES[:1], NAMES):
        problem = _problem_of_prediction(predictor, names)
        if problem:
            return f"prediction from {'+'.join(names)} {problem}"
    return None


def _problem_of_prediction(predictor, names: Sequence[str]) -> str | None:
    import SimpleITK as sitk
    import torch

    rng = np.random.default_rng(0)
    images = {name: (rng.normal(100, 10, SHAPE).astype(np.float32), SPACING_MM) for name in names}
    labels = sitk.GetArrayFromImage(predictor.predict(images))
    if labels.shape != SHAPE:
        return f"has shape {labels.shape} and not {SHAPE}"
    subset = tuple(range(len(names)))
    logits = predictor.predict_logits(torch.randn(len(names), *SHAPE), subset)
    if not torch.isfinite(logits).all():
        return "gives values that are not finite"
    return None
