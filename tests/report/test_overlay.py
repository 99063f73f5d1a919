import numpy as np
import pytest

from magms_nnunet.report.overlay import best_slice, save_overlay

REGIONS = {"edema": (1,), "core": (2,)}


def test_best_slice_shows_all_regions_together():
    labels = np.zeros((3, 4, 4), int)
    labels[0] = 1  # the largest area, but one region only
    labels[2, :2], labels[2, 2] = 1, 2
    assert best_slice(labels, REGIONS) == 2


def test_a_readable_picture_also_where_a_label_is_missing(tmp_path):
    plt = pytest.importorskip("matplotlib.pyplot")
    rng = np.random.default_rng(0)
    reference = np.zeros((3, 8, 8), int)
    reference[1, 2:5, 2:5] = 1
    images = {name: rng.random((3, 8, 8)) for name in ("FLAIR", "T1c")}
    save_overlay(tmp_path / "a.png", images, reference, {"T1c": reference * 0}, REGIONS, "a case")
    picture = plt.imread(tmp_path / "a.png")
    assert picture.ndim == 3
    assert min(picture.shape[:2]) > 400
    assert picture[..., :3].std() > 0.1
    assert plt.get_fignums() == []
