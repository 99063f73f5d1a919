"""Two cases, of which the second's T1c is to be spoilt: fixtures of the tests of input images."""

import json

import pytest
import SimpleITK as sitk

from magms_nnunet.inference.request import ModelRequest
from tests.faults.tiny import FLAIR, SIDE_FILES, T1C, give
from tests.integration.workspace import ENDING, SPACING_MM, files_in

FILE = f"p2_0002{ENDING}"
LABEL = f"{FILE} (T1c)"


@pytest.fixture
def images(tmp_path):
    """p1 and p2 have FLAIR and T1c; p2's T1c is to be spoilt."""
    return give(tmp_path / "images", {"p1": [FLAIR, T1C], "p2": [FLAIR, T1C]})


@pytest.fixture
def failure(images, magms_predict, tmp_path, monkeypatch):
    """failure(*flags): the line on p2, which failed while p1 was predicted; alone it fails before the model is read."""

    def failure(*flags):
        out = tmp_path / "out"
        code, (line,) = magms_predict(images, out, *flags)
        assert code == 3
        assert line.startswith(f"magms_predict: p2: {LABEL} ")
        assert files_in(out) == {f"p1{ENDING}", "p1.json"} | SIDE_FILES
        for file in images.glob("p1_*"):
            file.unlink()
        monkeypatch.setattr(ModelRequest, "load", lambda self: pytest.fail("the model was loaded"))
        assert magms_predict(images, tmp_path / "alone", *flags) == (3, [line])
        assert files_in(tmp_path / "alone") == set()
        return line

    return failure


@pytest.fixture
def prediction(images, magms_predict, tmp_path):
    """prediction(*flags, says=()): p2's JSON, with these warnings on stderr; p1 and p2 are both predicted."""

    def prediction(*flags, says=()):
        code, lines = magms_predict(images, tmp_path / "out", *flags)
        assert code == 0
        assert lines == [f"magms_predict: warning: p2: {text}" for text in says]
        report = json.loads((tmp_path / "out" / "p2.json").read_text())
        assert report["warnings"] == list(says)
        assert json.loads((tmp_path / "out" / "p1.json").read_text())["warnings"] == []
        return report

    return prediction


def like(path, array, **geometry):
    """Write other voxels, or another geometry, over an image."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(geometry.get("spacing_mm", SPACING_MM)[::-1])
    image.SetOrigin(geometry.get("origin_mm", (0.0, 0.0, 0.0)))
    image.SetDirection(geometry.get("direction", (1, 0, 0, 0, 1, 0, 0, 0, 1)))
    sitk.WriteImage(image, str(path))
