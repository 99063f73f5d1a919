"""The previous stage's segmentation, which the second stage of a cascade takes as another image."""

import numpy as np
import pytest
import SimpleITK as sitk

from magms_nnunet.errors import InputError
from magms_nnunet.inference.predictor import Predictor
from tests.faults.spoiled_image import like
from tests.faults.tiny import SHAPE, SIDE_FILES, T1C, give, make_second_stage
from tests.integration.workspace import ENDING, files_in, write_image

LABELS = np.zeros(SHAPE, np.uint8)
LABELS[4:14, 4:12, 4:12] = 1
LABELS[8:14, 4:12, 4:12] = 2


@pytest.fixture
def cascade(model, tmp_path):
    return make_second_stage(model, tmp_path)


@pytest.fixture
def previous(tmp_path):
    """Its file, to be spoilt; the other case's is good."""
    for case in ("p1", "p2"):
        write_image(tmp_path / "previous" / f"{case}{ENDING}", LABELS)
    return tmp_path / "previous" / f"p2{ENDING}"


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-20])


def smaller(path):
    like(path, LABELS[:, :, 1:])


def elsewhere(path):
    like(path, LABELS, origin_mm=(100.0, 0.0, 0.0))


def half_nan(path):
    """SimpleITK would read background."""
    labels = LABELS.astype(np.float32)
    labels[:8] = np.nan
    like(path, labels)


def other_labels(path):
    like(path, LABELS * np.uint8(10))


@pytest.mark.fault(6)
@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (cut_off, "is truncated or damaged"),
        (smaller, f"has 15x17x18 voxels, p2_0002{ENDING} has 16x17x18"),
        (elsewhere, f"begins at 100 0 0 mm, p2_0002{ENDING} at 0 0 0 mm"),
        (half_nan, "holds 2176 NaN or infinite voxels: repair it, or make it again"),
        (other_labels, "has labels [10, 20], which dataset.json does not declare"),
    ],
)
def test_segmentation_by_the_previous_stage_that_is_not_of_this_case_fails(
    spoil, says, cascade, previous, magms_predict, tmp_path
):
    images, out = give(tmp_path / "images", {"p1": [T1C], "p2": [T1C]}), tmp_path / "out"
    spoil(previous)
    flags = ("-m", cascade, "-prev_stage_predictions", previous.parent)
    code, (line,) = magms_predict(images, out, *flags)
    assert code == 3
    assert line.startswith(f"magms_predict: p2: p2{ENDING} of the previous stage {says}")
    assert files_in(out) == SIDE_FILES | {f"p1{ENDING}", "p1.json"}
    predictor = Predictor(cascade, device="cpu", mirroring=False)
    with pytest.raises(InputError, match="of the previous stage"):
        predictor.predict({"T1c": images / f"p2_0002{ENDING}"}, previous_stage=previous)
    assert isinstance(
        predictor.predict({"T1c": images / f"p1_0002{ENDING}"}, previous_stage=previous.with_name(f"p1{ENDING}")),
        sitk.Image,
    )
