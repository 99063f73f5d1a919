import gzip
import pickle

import numpy as np
import pytest
import SimpleITK as sitk

from magms_nnunet.errors import CaseError, InputError, InputWarning
from magms_nnunet.images.cases import Case, check_files, check_result_name, choose_modalities, find_cases
from magms_nnunet.modalities import Modalities
from tests.unprivileged import unreadable

BRATS = Modalities(("FLAIR", "T1", "T1c", "T2"))


def write(path, shape=(4, 5, 6), spacing_mm=(1.0, 1.0, 1.0)):
    image = sitk.GetImageFromArray(np.ones(shape, np.int16))
    image.SetSpacing(spacing_mm[: len(shape)])
    sitk.WriteImage(image, str(path))
    return path


def test_cases_are_found_with_whatever_channels_they_have(tmp_path):
    for name in ("b_0002", "b_0000", "b_002", "a_1_0003", "other", "a_1_0000.json"):
        (tmp_path / (name if "." in name else f"{name}.nii.gz")).touch()
    cases, misnamed = find_cases(tmp_path, ".nii.gz")
    assert [(case.name, sorted(case.files)) for case in cases] == [("a_1", [3]), ("b", [0, 2])]
    assert [path.name for path in misnamed] == ["b_002.nii.gz", "other.nii.gz"]


def test_files_that_a_system_leaves_are_passed_over_and_said_once(tmp_path):
    for name in ("p_0000", "._p_0000", "._q_0000", ".DS_Store", ".magms_1"):
        (tmp_path / (name if name == ".DS_Store" else f"{name}.nii.gz")).touch()
    (tmp_path / "__MACOSX").mkdir()
    with pytest.warns(InputWarning) as warned:
        cases, misnamed = find_cases(tmp_path, ".nii.gz")
    assert ([case.name for case in cases], misnamed) == (["p"], [])
    (text,) = (str(warning.message) for warning in warned)
    assert text == f"input folder {tmp_path}: hidden files are passed over (._p_0000.nii.gz and 1 more)"


def test_a_folder_of_nothing_but_what_a_system_leaves_holds_no_images(tmp_path):
    (tmp_path / "._p_0000.nii.gz").touch()
    with pytest.warns(InputWarning), pytest.raises(InputError, match="no images in"):
        find_cases(tmp_path, ".nii.gz")


def test_no_folder_and_no_images_are_errors(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        find_cases(tmp_path / "nowhere", ".nii.gz")
    (tmp_path / "patient.nii.gz").touch()
    with pytest.raises(InputError, match=r"CASE_XXXX\.nii\.gz"):
        find_cases(tmp_path, ".nii.gz")


def test_a_folder_that_may_not_be_looked_into(tmp_path):
    (tmp_path / "in").mkdir()
    with (
        unreadable(tmp_path),
        pytest.raises(InputError, match=r"input folder .*/in cannot be read"),
    ):
        find_cases(tmp_path / "in", ".nii.gz")


@pytest.mark.parametrize(
    ("file_ending", "others"),
    [(".nii.gz", [".nii", ".NII.GZ", ".mha", ".Png", ".mgz", ".img"]), (".nii", [".nii.gz", ".NII", ".tiff"])],
)
def test_images_with_another_ending_are_kept_apart(file_ending, others, tmp_path):
    names = [f"p_{channel:04d}{other}" for channel, other in enumerate(others, 1)]
    for name in (f"p_0000{file_ending}", *names, "q_0002.mhd", "q_0002.txt", "q_2.png", "r.nrrd", "s_1.mgz"):
        (tmp_path / name).touch()
    (p, q), misnamed = find_cases(tmp_path, file_ending)
    assert [path.name for path in p.files.values()] == [f"p_0000{file_ending}"]
    assert {channel: path.name for channel, path in p.unread.items()} == dict(enumerate(names, 1))
    assert (q.name, q.files, q.unread) == ("q", {}, {2: tmp_path / "q_0002.mhd"})
    assert [path.name for path in misnamed] == ["r.nrrd", "s_1.mgz"]  # volumes, where a .png may be a picture of one


def test_the_other_half_of_an_image_is_not_another_image(tmp_path):
    for name in ("p_0000.hdr", "p_0000.img", "q.img"):
        (tmp_path / name).touch()
    (case,), misnamed = find_cases(tmp_path, ".hdr")
    assert (case.files, case.unread, misnamed) == ({0: tmp_path / "p_0000.hdr"}, {}, [])


@pytest.mark.parametrize(("name", "remedy"), [("p_0000.nii", "convert it to .nii.gz"), ("p_0000.NII.gz", "rename it")])
def test_a_folder_of_another_ending_says_what_it_holds(name, remedy, tmp_path):
    (tmp_path / name).touch()
    with pytest.raises(InputError, match=f"no images in .*; {name} is not: {remedy}"):
        find_cases(tmp_path, ".nii.gz")


def test_digits_of_other_scripts_are_no_channel(tmp_path):
    for name in ("p_0001.nii.gz", "p_٠٠٠١.nii.gz"):
        (tmp_path / name).touch()
    (case,), misnamed = find_cases(tmp_path, ".nii.gz")
    assert case.files == {1: tmp_path / "p_0001.nii.gz"}
    assert misnamed == [tmp_path / "p_٠٠٠١.nii.gz"]


def case_with(tmp_path, *channels):
    return Case("p1", {c: tmp_path / f"p1_{c:04d}.nii.gz" for c in channels})


def test_without_request_a_case_uses_what_it_has(tmp_path):
    assert choose_modalities(case_with(tmp_path, 2, 0), None, BRATS, ".nii.gz") == (0, 2)


def test_a_request_is_taken_exactly(tmp_path):
    assert choose_modalities(case_with(tmp_path, 0, 1, 2, 9), (0, 2), BRATS, ".nii.gz") == (0, 2)


def test_a_missing_request_names_case_modality_file_and_what_there_is(tmp_path):
    with pytest.raises(CaseError, match=r"^p1: T1c is missing \(no p1_0002.nii.gz\).*FLAIR\+T2"):
        choose_modalities(case_with(tmp_path, 0, 3), (0, 2), BRATS, ".nii.gz")


def test_a_channel_that_the_model_does_not_know_is_an_error(tmp_path):
    with pytest.raises(CaseError, match=r"p1_0004.nii.gz is channel 4.*0 to 3"):
        choose_modalities(case_with(tmp_path, 0, 4), None, BRATS, ".nii.gz")


def test_the_number_of_a_patient_is_no_channel(tmp_path):
    with pytest.raises(CaseError, match=r"where 0004 is the number of a patient, .* as in p1_0004_0000\.nii\.gz$"):
        choose_modalities(case_with(tmp_path, 0, 4), None, BRATS, ".nii.gz")


@pytest.mark.parametrize("name", ["scan.nii", "scan.NII.GZ", "scan.img", "scan.hdr"])
def test_a_result_that_simpleitk_would_write_under_another_name(name, tmp_path):
    image = sitk.GetImageFromArray(np.ones((4, 5, 6), np.uint8))
    sitk.WriteImage(image, str(tmp_path / f"{name}.nii.gz"))
    assert not (tmp_path / f"{name}.nii.gz").exists()  # what it would do
    with pytest.raises(CaseError, match=rf"^{name}: its name ends in \.\w+, so that SimpleITK would write"):
        check_result_name(Case(name, {}), ".nii.gz")
    check_result_name(Case(name, {}), ".mha")


def test_other_dots_in_a_name_are_fine(tmp_path):
    image = sitk.GetImageFromArray(np.ones((4, 5, 6), np.uint8))
    for name in ("scan.gz", "scan.mha", "a.nii.b", "1.5T"):
        sitk.WriteImage(image, str(tmp_path / f"{name}.nii.gz"))
        assert (tmp_path / f"{name}.nii.gz").exists()
        check_result_name(Case(name, {}), ".nii.gz")


def test_an_image_that_would_be_overlooked_is_an_error_unless_others_are_asked_for(tmp_path):
    case = Case("p1", {0: tmp_path / "p1_0000.nii.gz"}, {1: tmp_path / "p1_0001.nii", 9: tmp_path / "p1_0009.png"})
    for requested in (None, (0, 1)):
        with pytest.raises(
            CaseError, match=r"^p1: p1_0001.nii \(T1\) .* reads .nii.gz: convert it to .nii.gz, or move"
        ):
            choose_modalities(case, requested, BRATS, ".nii.gz")
    assert choose_modalities(case, (0,), BRATS, ".nii.gz") == (0,)
    del case.unread[1]
    with pytest.raises(CaseError, match=r"^p1: p1_0009.png would be overlooked"):
        choose_modalities(case, None, BRATS, ".nii.gz")


@pytest.fixture
def pair(tmp_path):
    """A good FLAIR and a place for a T1c."""
    files = {0: write(tmp_path / "p1_0000.nii.gz"), 2: tmp_path / "p1_0002.nii.gz"}
    return Case("p1", files)


def message(case, subset=(0, 2), **options):
    with pytest.raises(CaseError) as error:
        check_files(case, subset, BRATS, **options)
    assert str(error.value).startswith("p1: ")
    assert "p1_0002.nii.gz (T1c)" in str(error.value)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_good_files_pass(pair):
    write(pair.files[2])
    check_files(pair, (0, 2), BRATS)


def test_files_outside_the_subset_are_not_opened(pair):
    pair.files[2].write_bytes(b"garbage")
    check_files(pair, (0,), BRATS)


def test_another_shape(pair):
    write(pair.files[2], shape=(4, 5, 7))
    assert "7x5x4 voxels" in message(pair)


def test_another_spacing(pair):
    write(pair.files[2], spacing_mm=(1, 1, 1.5))
    assert "1x1x1.5 mm" in message(pair)
    assert "accept it with --geometry-tolerance (they lie 1.3 voxels apart)" in message(pair)  # 4 slices of 0.5 mm


def test_rounding_of_the_spacing_is_no_difference(pair):
    write(pair.files[2], spacing_mm=(1, 1, 1.000001))
    check_files(pair, (0, 2), BRATS)


def test_another_orientation(pair):
    image = sitk.ReadImage(str(write(pair.files[2])))
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    sitk.WriteImage(image, str(pair.files[2]))
    assert "is oriented RAS, p1_0000.nii.gz (FLAIR) LPS" in message(pair)
    assert "--geometry-tolerance" not in message(pair)


def test_another_origin(pair):
    image = sitk.ReadImage(str(write(pair.files[2])))
    image.SetOrigin((0, 0, 0.25))
    sitk.WriteImage(image, str(pair.files[2]))
    assert "begins at 0 0 0.25 mm" in message(pair)
    check_files(pair, (0, 2), BRATS, geometry_tolerance=0.26)


def test_a_2d_image_is_no_volume(pair):
    write(pair.files[2], shape=(5, 6))
    assert "is 2-D (6x5)" in message(pair, (2,), volumes=True)
    check_files(pair, (2,), BRATS)


@pytest.mark.parametrize("shape", [(1, 5, 6), (4, 1, 6), (4, 5, 1)])
def test_a_single_slice_is_no_volume(shape, pair):
    write(pair.files[2], shape)
    assert f"is a single slice ({shape[2]}x{shape[1]}x{shape[0]})" in message(pair, (2,), volumes=True)
    check_files(pair, (2,), BRATS)


def test_thin_volumes_are_volumes(pair):
    write(pair.files[2], (2, 40, 40))
    check_files(pair, (2,), BRATS, volumes=True)


def test_truncated(pair):
    write(pair.files[2], shape=(20, 20, 20))
    pair.files[2].write_bytes(pair.files[2].read_bytes()[:-12])
    assert "truncated or damaged" in message(pair)


def test_a_gzip_stream_that_ends_within_the_voxels(pair):
    whole = gzip.decompress(write(pair.files[2]).read_bytes())
    pair.files[2].write_bytes(gzip.compress(whole[:-20]))
    assert "shorter than its header says" in message(pair)


def test_zero_bytes(pair):
    pair.files[2].touch()
    assert "empty" in message(pair)


def test_not_an_image(pair):
    pair.files[2].write_bytes(gzip.compress(b"hello"))
    assert "not an image" in message(pair)


def test_not_gzip(pair):
    pair.files[2].write_bytes(b"hello")
    assert "truncated or damaged" in message(pair)


def test_gone(pair):
    assert "No such file" in message(pair)


def test_four_dimensions(pair):
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((3, 4, 5, 6), np.int16), isVector=False), str(pair.files[2]))
    assert "4-D (6x5x4x3)" in message(pair)


def test_rgb(pair):
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((4, 5, 6, 3), np.uint8), isVector=True), str(pair.files[2]))
    assert "3 values per voxel" in message(pair)


def test_case_errors_come_back_from_other_processes():
    error = pickle.loads(pickle.dumps(CaseError("p1", "broken")))
    assert (error.case, error.message, str(error)) == ("p1", "broken", "p1: broken")
