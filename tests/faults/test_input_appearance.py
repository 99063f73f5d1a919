"""Images that are whole, but look like none of their modality: warned of."""

import json
import shutil

import numpy as np
import pytest

from magms_nnunet.appearance import PLANS_KEY, learn
from tests.faults.spoiled_image import FILE, LABEL, like
from tests.faults.tiny import SHAPE, T1C, voxels
from tests.integration.workspace import ENDING, write_image

# --- 10: a label map in place of an image -----------------------------------------------------------------------------


def test_row10_label_map_as_image_is_warned_of(images, prediction):
    like(images / FILE, (np.arange(np.prod(SHAPE)) // 700 % 4).reshape(SHAPE).astype(np.uint8))
    prediction(says=[f"{LABEL} holds 4 different whole numbers only: is it a label map?"])


# --- 11: files of two modalities swapped ------------------------------------------------------------------------------


def skewed(seed):
    """As another contrast would look: few voxels are bright."""
    image = voxels(seed)
    return image**8 / 100**7


@pytest.fixture
def model_that_learned(model, tmp_path):
    """As MAGMSPlanner leaves it: it has seen eight patients."""
    folder = tmp_path / "training"
    cases = [[folder / f"p{patient}_{channel:04d}{ENDING}" for channel in range(4)] for patient in range(8)]
    for number, paths in enumerate(cases):
        for channel, path in enumerate(paths):
            write_image(path, (skewed if channel == T1C else voxels)(1000 * number + channel))
    shutil.copytree(model, tmp_path / "model")
    plans = json.loads((model / "plans.json").read_text())
    (tmp_path / "model" / "plans.json").write_text(json.dumps(plans | {PLANS_KEY: learn(cases)}))
    return tmp_path / "model"


def test_row11_swapped_modalities_are_warned_of(images, model_that_learned, prediction):
    like(images / f"p1_0002{ENDING}", skewed(77))
    like(images / FILE, voxels(78))
    like(images / f"p2_0000{ENDING}", skewed(79))
    text = f"p2_0000{ENDING} (FLAIR) looks like T1c and {LABEL} like FLAIR: are they swapped?"
    prediction("-m", model_that_learned, says=[text])


def test_row11_single_file_of_another_modality_is_warned_of(images, model_that_learned, prediction):
    like(images / f"p1_0002{ENDING}", skewed(77))
    prediction(
        "-m",
        model_that_learned,
        "--modalities",
        "T1c",
        says=[f"{LABEL} looks like FLAIR: is it the file of another modality?"],
    )


def test_row11_right_files_are_not_warned_of(images, model_that_learned, prediction):
    for case in ("p1", "p2"):
        like(images / f"{case}_0002{ENDING}", skewed(80 + len(case)))
    prediction("-m", model_that_learned)
