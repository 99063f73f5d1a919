"""An evaluation's folder, made without a model, and how its tests read what comes of it."""

import csv
from dataclasses import asdict

import numpy as np
import pytest

from magms_nnunet.errors import InputError
from magms_nnunet.evaluation import folder as evaluation
from magms_nnunet.evaluation.score_logits import SubsetScores
from magms_nnunet.images.checks import STRICT, InputChecks
from magms_nnunet.metrics.scores import score_case

SUBSETS = ["FLAIR", "T1c", "FLAIR+T1c"]
CASES = ["a", "a b", "<script>", "d"]
RUN = {
    "model": {
        "name": "MAGMSTrainer__MAGMSPlans__3d_fullres",
        "dataset": "Dataset901_Balls",
        "trainer": "MAGMSTrainer",
        "plans": "MAGMSPlans",
        "configuration": "3d_fullres",
        "folds": ["0"],
        "checkpoint": "checkpoint_final.pth",
        "sha256": "0" * 64,
    },
    "protocol": "masked",
    "fill": None,
    "settings": {"step_size": 0.5, "mirroring": True},
    "checks": asdict(STRICT),
    "modalities": ["FLAIR", "T1c"],
    "regions": {"whole": [1, 2], "core": [2]},
    "subsets": SUBSETS,
    "all_cases": CASES,
    "part": [0, 1],
    "cases": [],
    "training": None,
    "versions": {"magms_nnunet": "0.1.0", "nnunetv2": "2.8.1", "torch": "2.13.0"},
    "command": "magms_evaluate -o OUT",
}
FOLDERS = {"images": "imagesTs", "labels": "corrected", "previous_stage": "lowres"}
CHANGES = {
    "model": {**RUN["model"], "sha256": "1" * 64},
    "protocol": "absent",
    "fill": "zero",
    "settings": {"step_size": 0.5, "mirroring": False},
    "checks": asdict(InputChecks(nan_to_zero=True)),
    "modalities": ["T1c", "FLAIR"],
    "regions": {"whole": [1, 2]},
    "subsets": ["FLAIR", "FLAIR+T1c"],
    "all_cases": ["a", "b"],
}


def save(folder, name):
    """A case of 4 x 4 pixels: FLAIR misses the core, T1c half of the edema, both find everything."""
    reference = np.array([[0, 0, 0, 0], [0, 1, 2, 0], [0, 1, 2, 0], [0, 0, 0, 0]], np.uint8)
    predictions = {"FLAIR": np.where(reference == 2, 1, reference), "T1c": reference.copy(), "FLAIR+T1c": reference}
    predictions["T1c"][1, 1] = 0
    scores = {
        subset: SubsetScores(
            score_case(name, subset, reference, predictions[subset], RUN["regions"], (1.0, 1.0)), 0.1 * number, labels
        )
        for number, (subset, labels) in enumerate(predictions.items())
    }
    image = {
        "images": np.full((2, 4, 4), 100, np.uint8),
        "reference": reference,
        "spacing_mm": np.array([1.0, 1.0]),
    }
    evaluation.save_case(folder, name, scores, SUBSETS, image, {"reference": "0" * 64})


def begun(path, cases=(), **changes):
    """An evaluation of which these cases are finished."""
    path.mkdir()
    evaluation.begin(path, RUN | changes)
    for name in cases:
        save(path, name)
    return path


def one_line(function, *arguments) -> str:
    with pytest.raises(InputError) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
