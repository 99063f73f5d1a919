"""Images that are whole, but look like none of their modality: warned of."""

import json
import shutil

import numpy as np
import pytest

from magms_nnunet.images.appearance import PLANS_KEY, learn_appearance
from magms_nnunet.inference import folder
from tests.faults.spoiled_image import FILE, LABEL, like
from tests.faults.tiny import SHAPE, T1C, voxels
from tests.integration.workspace import ENDING, write_image

# --- 10: a label map in place of an image -----------------------------------------------------------------------------


@pytest.mark.fault(10)
def test_label_map_as_image_is_warned_of(images, prediction):
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
    training = tmp_path / "training"
    cases = [[training / f"p{patient}_{channel:04d}{ENDING}" for channel in range(4)] for patient in range(8)]
    for number, paths in enumerate(cases):
        for channel, path in enumerate(paths):
            write_image(path, (skewed if channel == T1C else voxels)(1000 * number + channel))
    shutil.copytree(model, tmp_path / "model")
    plans = json.loads((model / "plans.json").read_text())
    (tmp_path / "model" / "plans.json").write_text(
        json.dumps(plans | {PLANS_KEY: learn_appearance([dict(enumerate(paths)) for paths in cases])})
    )
    return tmp_path / "model"


@pytest.mark.fault(11)
def test_swapped_modalities_are_warned_of(images, model_that_learned, prediction):
    like(images / f"p1_0002{ENDING}", skewed(77))
    like(images / FILE, voxels(78))
    like(images / f"p2_0000{ENDING}", skewed(79))
    text = f"p2_0000{ENDING} (FLAIR) looks like T1c and {LABEL} like FLAIR: are they swapped?"
    prediction("-m", model_that_learned, says=[text])


@pytest.mark.fault(11)
def test_single_file_of_another_modality_is_warned_of(images, model_that_learned, prediction):
    like(images / f"p1_0002{ENDING}", skewed(77))
    prediction(
        "-m",
        model_that_learned,
        "--modalities",
        "T1c",
        says=[f"{LABEL} looks like FLAIR: is it the file of another modality?"],
    )


@pytest.mark.fault(11)
def test_right_files_are_not_warned_of(images, model_that_learned, prediction):
    for case in ("p1", "p2"):
        like(images / f"{case}_0002{ENDING}", skewed(80 + len(case)))
    prediction("-m", model_that_learned)


# --- 11: images of something else, and what becomes of them -----------------------------------------------------------


@pytest.mark.fault(11)
def test_image_that_looks_like_no_modality_is_warned_of(images, model_that_learned, prediction):
    """Padded with -1024, as a CT is."""
    like(images / f"p1_0002{ENDING}", skewed(77))
    padded = voxels(78)
    padded[padded == 0] = -1024
    like(images / FILE, padded)
    says = f"{LABEL} looks like none of FLAIR, T1, T1c, T2: is it of another organ or kind, or padded?"
    prediction("-m", model_that_learned, says=[says])


@pytest.mark.fault(11)
def test_patients_taken_for_modalities_are_warned_of(model_that_learned, magms_predict, tmp_path):
    for patient in range(4):
        write_image(tmp_path / "images" / f"patient_{patient:04d}{ENDING}", skewed(90 + patient))
    code, (line,) = magms_predict(tmp_path / "images", tmp_path / "out", "-m", model_that_learned)
    assert code == 0
    assert "patient: the images of 0000, 0001, 0002, 0003 all look like T1c: are these the numbers of patients?" in line


@pytest.mark.fault(11)
@pytest.mark.parametrize(
    ("foreground", "says"),
    [
        (-9, "nothing is segmented: look at the images"),
        (9, "every voxel is segmented: look at the images"),
    ],
)
def test_result_that_is_nothing_or_everything_is_warned_of(
    foreground, says, model, magms_predict, tmp_path, monkeypatch
):
    def logits(predictor, job, data, on_fold):
        found = np.zeros((3, *data.shape[1:]), np.float32)
        found[1] = foreground
        return found

    monkeypatch.setattr(folder, "_logits", logits)
    write_image(tmp_path / "images" / f"p_0000{ENDING}", 1 + voxels(5))  # no background that would be cropped
    code, (line,) = magms_predict(tmp_path / "images", tmp_path / "out")
    assert (code, line) == (0, f"magms_predict: warning: p: {says}")
    assert json.loads((tmp_path / "out" / "p.json").read_text())["warnings"] == [says]
