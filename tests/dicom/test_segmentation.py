"""A DICOM-SEG read back holds the same voxels and refers to the images."""

import numpy as np
import pytest

from tests.dicom.written_study import AXIAL, SAGITTAL, pydicom, write_series

hd = pytest.importorskip("highdicom")

from magms_nnunet.dicom.codes import codes_of  # noqa: E402
from magms_nnunet.dicom.segmentation import write_segmentation  # noqa: E402
from magms_nnunet.dicom.study import find_series  # noqa: E402
from magms_nnunet.errors import InputError  # noqa: E402

VOXELS = np.random.default_rng(0).integers(0, 4000, (6, 8, 9))
REGIONS = {"whole_tumor": (1, 2), "enhancing": (2,)}


@pytest.fixture(params=[AXIAL, SAGITTAL], ids=["axial", "sagittal"])
def series(request, tmp_path):
    write_series(tmp_path / "study", VOXELS, 3, axes=request.param)
    return find_series(tmp_path / "study")[0]


def test_the_same_voxels_are_read_back(series, tmp_path):
    labels = np.random.default_rng(1).integers(0, 3, VOXELS.shape)
    labels[1] = 0  # a slice without anything
    path = tmp_path / "seg.dcm"
    write_segmentation(path, labels, REGIONS, series, {}, "a model")
    seg = hd.seg.segread(path)
    uids = [str(header.SOPInstanceUID) for header in series.headers]
    masks = seg.get_pixels_by_source_instance(uids, assert_missing_frames_are_empty=True)
    for segment, values in enumerate(REGIONS.values()):
        np.testing.assert_array_equal(masks[..., segment] > 0, np.isin(labels, values))
    first = series.headers[0]
    for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert seg.get(keyword) == first.get(keyword)
    assert seg.SeriesInstanceUID != first.SeriesInstanceUID
    assert [segment.SegmentLabel for segment in seg.SegmentSequence] == [*REGIONS]


def test_positions_are_those_of_the_images(series, tmp_path):
    """Read by SimpleITK, which knows nothing of highdicom: every frame lies at its slice's position."""
    labels = np.ones(VOXELS.shape, int)
    write_segmentation(tmp_path / "seg.dcm", labels, {"all": (1,)}, series, {}, "a model")
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    frames = [
        [float(mm) for mm in frame.PlanePositionSequence[0].ImagePositionPatient]
        for frame in seg.PerFrameFunctionalGroupsSequence
    ]
    slices = [[float(mm) for mm in header.ImagePositionPatient] for header in series.headers]
    np.testing.assert_allclose(sorted(frames), sorted(slices), atol=1e-3)


def test_what_cannot_be_a_segmentation_is_refused(series, tmp_path):
    for labels, message in (
        (np.zeros(VOXELS.shape, int), "nothing is segmented"),
        (np.ones((6, 8, 8), int), "does not lie on the 6 slices of 8x9"),
    ):
        with pytest.raises(InputError, match=message):
            write_segmentation(tmp_path / "seg.dcm", labels, REGIONS, series, {}, "a model")
    assert not (tmp_path / "seg.dcm").exists()


def test_terms_come_from_the_owner_or_a_word_and_are_not_invented():
    own = {"category": ["1", "99MINE", "mine"], "type": ["2", "99MINE", "this"]}
    assert codes_of("whole", {"segment_codes": {"whole": own}}) == (("1", "99MINE", "mine"), ("2", "99MINE", "this"))
    assert codes_of("peritumoral edema", {})[1][2] == "Edema"
    assert codes_of("whole_tumor", {})[1][2] == "Neoplasm"
    assert codes_of("label7", {})[1][2] == "Tissue"
    for wrong in ({}, {"category": ["1", "2"], "type": ["1", "2", "3"]}, 5):
        with pytest.raises(InputError, match="segment_codes of 'whole' must be"):
            codes_of("whole", {"segment_codes": {"whole": wrong}})
