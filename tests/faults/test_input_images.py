"""What can be wrong with the image files of a case: it fails by name before the model loads, the others go on."""

import gzip
import json
import shutil

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from magms_nnunet import Predictor
from magms_nnunet.appearance import PLANS_KEY, learn
from magms_nnunet.checks import InputChecks
from magms_nnunet.cli import evaluate
from magms_nnunet.errors import InputError, InputWarning
from magms_nnunet.inference.request import ModelRequest
from tests.faults.tiny import FLAIR, SHAPE, SIDE_FILES, T1C, give, magms_predict, model, voxels  # noqa: F401
from tests.integration.workspace import ENDING, QUIET, SPACING_MM, files_in, read_voxels, write_image

FILE = f"p2_0002{ENDING}"
LABEL = f"{FILE} (T1c)"


@pytest.fixture
def images(tmp_path):
    """p1 and p2 have FLAIR and T1c; p2's T1c is to be spoilt."""
    return give(tmp_path / "images", {"p1": [FLAIR, T1C], "p2": [FLAIR, T1C]})


@pytest.fixture
def failure(images, magms_predict, tmp_path, monkeypatch):  # noqa: F811
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
def prediction(images, magms_predict, tmp_path):  # noqa: F811
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


# --- 4: a modality that holds nothing ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "what"), [(0, "only zeros"), (7, "only the value 7"), (-1, "only the value -1")])
def test_row04_modality_that_is_constant_fails(value, what, images, failure):
    like(images / FILE, np.full(SHAPE, value, np.int16))
    assert f"{LABEL} holds {what}: replace it, leave T1c out of --modalities, or let --treat-empty" in failure()


def test_row04_empty_modality_is_left_out_where_that_is_wanted(images, prediction, model, tmp_path):  # noqa: F811
    """And what is predicted is what the other modality alone gives."""
    like(images / FILE, np.zeros(SHAPE, np.float32))
    says = f"{LABEL} holds only zeros: predicted without T1c"
    report = prediction("--treat-empty-as-missing", "--modalities", "T1c", "F", says=[says])
    assert report["modalities_used"] == ["FLAIR"]
    assert report["modalities_absent"] == ["T1", "T1c", "T2"]
    assert report["modalities_empty"] == ["T1c"]
    alone = Predictor(model, device="cpu", mirroring=False).predict({"FLAIR": images / f"p2_0000{ENDING}"})
    assert np.array_equal(sitk.GetArrayFromImage(alone), read_voxels(tmp_path / "out" / f"p2{ENDING}"))


def test_row04_continuing_knows_the_case_that_was_predicted_without_its_empty_modality(
    images,
    magms_predict,  # noqa: F811
    tmp_path,
):
    like(images / FILE, np.zeros(SHAPE, np.float32))
    flags = ("--treat-empty-as-missing", "--modalities", "T1c", "F")
    assert magms_predict(images, tmp_path / "out", *flags)[0] == 0
    before = (tmp_path / "out" / f"p2{ENDING}").stat().st_mtime_ns
    assert magms_predict(images, tmp_path / "out", *flags, "--continue_prediction") == (0, [])
    assert (tmp_path / "out" / f"p2{ENDING}").stat().st_mtime_ns == before


def test_row04_case_of_nothing_but_empty_modalities_fails(images, magms_predict, tmp_path):  # noqa: F811
    for path in images.glob("p2_*"):
        like(path, np.zeros(SHAPE, np.float32))
    code, (*_, line) = magms_predict(images, tmp_path / "out", "--treat-empty-as-missing")
    assert code == 3
    assert line.startswith("magms_predict: p2: nothing is left to predict from: ")
    assert files_in(tmp_path / "out") == {f"p1{ENDING}", "p1.json"} | SIDE_FILES


# --- 5: one image in place of two -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_row05_same_image_as_two_modalities_fails(dtype, images, magms_predict, tmp_path):  # noqa: F811
    like(images / FILE, read_voxels(images / f"p2_0000{ENDING}").astype(dtype))
    code, (line,) = magms_predict(images, tmp_path / "out")
    assert code == 3
    assert line == (
        f"magms_predict: p2: p2_0000{ENDING} (FLAIR) and {LABEL} are the same image: give each modality's own, or say "
        "that it is meant with --allow-identical"
    )
    assert files_in(tmp_path / "out") == {f"p1{ENDING}", "p1.json"} | SIDE_FILES


def test_row05_same_image_twice_is_let_through_where_it_is_meant(images, prediction):
    shutil.copy(images / f"p2_0000{ENDING}", images / FILE)
    assert prediction("--allow-identical")["modalities_used"] == ["FLAIR", "T1c"]


# --- 6: modalities on different grids ---------------------------------------------------------------------------------

Z, Y, X = SHAPE
RAS = (-1, 0, 0, 0, -1, 0, 0, 0, 1)


@pytest.mark.parametrize(
    ("array", "geometry", "says"),
    [
        (voxels(0)[1:], {}, f"has {X}x{Y}x{Z - 1} voxels, p2_0000{ENDING} (FLAIR) has {X}x{Y}x{Z}"),
        (
            voxels(0),
            {"spacing_mm": (3.0, 1.0, 1.0)},
            f"has a spacing of 1x1x3 mm, p2_0000{ENDING} (FLAIR) of 1x1x1.5 mm",
        ),
        (voxels(0), {"origin_mm": (0.0, 0.01, 0.0)}, f"begins at 0 0.01 0 mm, p2_0000{ENDING} (FLAIR) at 0 0 0 mm"),
        (voxels(0), {"direction": RAS}, f"is oriented RAS, p2_0000{ENDING} (FLAIR) LPS"),
        (
            voxels(0),
            {"direction": (0.8, 0.6, 0, -0.6, 0.8, 0, 0, 0, 1)},
            "(direction cosines 0.8 0.6 0 -0.6 0.8 0 0 0 1 and 1 0",
        ),
    ],
    ids=["shape", "spacing", "origin", "orientation", "angle"],
)
def test_row06_grids_that_differ_fail(array, geometry, says, images, failure):
    like(images / FILE, array, **geometry)
    line = failure()
    assert says in line
    assert "resample them to one grid" in line


def test_row06_rounding_of_headers_is_no_difference(images, prediction):
    like(images / FILE, voxels(0), origin_mm=(0.0, 0.0005, 0.0), spacing_mm=(1.5, 1.0, 1.00001))
    prediction()


@pytest.mark.parametrize(
    "geometry", [{"origin_mm": (0.0, 0.4, 0.0)}, {"spacing_mm": (1.5, 1.0, 1.02)}], ids=["origin", "spacing"]
)
def test_row06_tolerance_is_in_voxels_and_taken_at_its_word(geometry, images, prediction, failure):
    """0.4 voxels, and 16 voxels of 0.02 each, which nnU-Net's reader would refuse."""
    like(images / FILE, voxels(0), **geometry)
    prediction("--geometry-tolerance", 0.5)
    shutil.rmtree(images.parent / "out")
    assert "accept it with --geometry-tolerance (they lie 0." in failure("--geometry-tolerance", 0.3)


@pytest.mark.parametrize("value", ["-1", "nan", "inf"])
def test_row06_tolerance_that_makes_no_sense(value, images, magms_predict, tmp_path):  # noqa: F811
    code, (*_, line) = magms_predict(images, tmp_path / "out", "--geometry-tolerance", value)
    assert code == 2
    assert "--geometry-tolerance must be 0 or more voxels, got" in line


# --- 7: NaN and infinity ----------------------------------------------------------------------------------------------


def with_nan():
    array = voxels(0)
    array[9, 8, 7:10] = np.nan, np.inf, -np.inf
    return array


def test_row07_nan_and_infinite_voxels_fail_although_simpleitk_reads_zeros(images, failure):
    like(images / FILE, with_nan())
    assert np.isfinite(read_voxels(images / FILE)).all()
    assert f"{LABEL} holds 3 NaN or infinite voxels: repair it, leave T1c out, or count them as 0" in failure()


def test_row07_nan_counts_as_zero_where_that_is_wanted(images, prediction, tmp_path, magms_predict):  # noqa: F811
    like(images / FILE, with_nan())
    prediction("--nan-to-zero", says=[f"{LABEL} holds 3 NaN or infinite voxels, which count as 0"])
    like(images / FILE, np.nan_to_num(with_nan(), nan=0, posinf=0, neginf=0))
    assert magms_predict(images, tmp_path / "zeros") == (0, [])
    assert np.array_equal(
        read_voxels(tmp_path / "zeros" / f"p2{ENDING}"), read_voxels(tmp_path / "out" / f"p2{ENDING}")
    )


def test_row07_nan_counts_as_zero_for_a_reader_that_does_not_hide_it(images, model, tmp_path, magms_predict):  # noqa: F811
    shutil.copytree(model, tmp_path / "model")
    plans = json.loads((model / "plans.json").read_text())
    (tmp_path / "model" / "plans.json").write_text(json.dumps(plans | {"image_reader_writer": "NibabelIO"}))
    like(images / FILE, with_nan())
    flags = ("-m", tmp_path / "model", "--save_probabilities")
    code, (line,) = magms_predict(images, tmp_path / "out", *flags, "--nan-to-zero")
    assert (code, "which count as 0" in line) == (0, True)
    assert np.isfinite(np.load(tmp_path / "out" / "p2.npz")["probabilities"]).all()


# --- 8: files that are no whole image ---------------------------------------------------------------------------------


def truncated(path):
    path.write_bytes(path.read_bytes()[:-2000])


def too_short(path):
    """Properly compressed, but with fewer voxels than its header says; SimpleITK fills up with zeros."""
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-2000]))


def zero_bytes(path):
    path.write_bytes(b"")


def wrong_checksum(path):
    content = bytearray(path.read_bytes())
    content[-8] ^= 1
    path.write_bytes(content)


def garbage(path):
    path.write_bytes(b"this is not an image")


def compressed_garbage(path):
    path.write_bytes(gzip.compress(b"this is not an image"))


def header_only(path):
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:352]))


def a_folder(path):
    path.unlink()
    path.mkdir()


def missing(path):
    path.unlink()
    path.symlink_to("nowhere")


@pytest.mark.parametrize(
    ("spoil", "says", "remedy"),
    [
        (truncated, "truncated or damaged", "copy it again"),
        (too_short, "shorter than its header says", "copy it again"),
        (header_only, "shorter than its header says (352 of ", "copy it again"),
        (zero_bytes, "empty (0 bytes)", "copy it again"),
        (wrong_checksum, "truncated or damaged (CRC check failed", "copy it again"),
        (garbage, "truncated or damaged", "copy it again"),
        (compressed_garbage, "not an image", "replace it"),
        (a_folder, "cannot be read (Is a directory)", ""),
        (missing, "cannot be read (No such file or directory)", ""),
    ],
)
def test_row08_file_that_is_no_whole_image_fails(spoil, says, remedy, images, failure):
    spoil(images / FILE)
    line = failure()
    assert says in line
    assert remedy in line


# --- 9: images of another kind ----------------------------------------------------------------------------------------


def four_d(path):
    sitk.WriteImage(sitk.JoinSeries([sitk.ReadImage(str(path))] * 2), str(path))


def rgb(path):
    sitk.WriteImage(sitk.Compose(*[sitk.Image(SHAPE[::-1], sitk.sitkUInt8)] * 3), str(path))


def complex_numbers(path):
    nibabel.save(nibabel.Nifti1Image(np.ones(SHAPE, np.complex64), np.eye(4)), path)


def two_d(path):
    sitk.WriteImage(sitk.ReadImage(str(path))[:, :, 9], str(path))


def sheared(path):
    affine = np.diag([1.0, 1.0, 1.5, 1.0])
    affine[0, 1] = 0.2
    nibabel.save(nibabel.Nifti1Image(voxels(0).T, affine), path)


def sheared_beside_a_qform(path):
    """SimpleITK takes the qform then, without a word; viewers take the sform."""
    sheared(path)
    image = nibabel.load(path)
    image = nibabel.Nifti1Image(np.asarray(image.dataobj), image.affine, image.header)
    image.set_qform(np.diag([1.0, 1.0, 1.5, 1.0]), code=1)
    nibabel.save(image, path)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (four_d, f"is 4-D ({X}x{Y}x{Z}x2): give one 3-D image per modality and file"),
        (rgb, f"has 3 values per voxel ({X}x{Y}x{Z}; an RGB"),
        (complex_numbers, "has 2 values per voxel"),
        (two_d, f"is 2-D ({X}x{Y}): this model reads 3-D images"),
        (sheared, f"({X}x{Y}x{Z}) has axes that are not at right angles"),
        (sheared_beside_a_qform, f"({X}x{Y}x{Z}) has axes that are not at right angles"),
    ],
)
def test_row09_image_of_another_kind_fails_with_its_shape(spoil, says, images, model, tmp_path, failure):  # noqa: F811
    named = shutil.copytree(model, tmp_path / "MAGMSTrainer__MAGMSPlans__tiny")
    spoil(images / FILE)
    assert says in failure("-m", named)


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
def model_that_learned(model, tmp_path):  # noqa: F811
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


# --- the same from Python ---------------------------------------------------------------------------------------------


@pytest.fixture
def predictor(model):  # noqa: F811
    return Predictor(model, device="cpu", step_size=1, mirroring=False)


def array_of(spoil):
    array = voxels(2)
    spoil(array)
    return {"FLAIR": (voxels(0), SPACING_MM), "T1c": (array, SPACING_MM)}


def to_zero(array):
    array[:] = 0


def to_nan(array):
    array[9, 8, 7] = np.nan


def to_flair(array):
    array[:] = voxels(0)


@pytest.mark.parametrize(
    ("spoil", "says", "checks", "warns"),
    [
        (to_zero, r"\(T1c\) holds only zeros", InputChecks(treat_empty_as_missing=True), "predicted without T1c"),
        (to_nan, r"\(T1c\) holds 1 NaN", InputChecks(nan_to_zero=True), "1 NaN or infinite voxels, which count as 0"),
    ],
)
def test_row04_row07_arrays_are_checked_like_files(spoil, says, checks, warns, predictor):
    with pytest.raises(InputError, match=says):
        predictor.predict(array_of(spoil))
    with pytest.warns(InputWarning, match=warns):
        assert predictor.predict(array_of(spoil), checks=checks).GetSize() == SHAPE[::-1]


def test_row05_same_array_as_two_modalities(predictor):
    with pytest.raises(InputError, match=r"\(FLAIR\) and .* \(T1c\) are the same image"):
        predictor.predict(array_of(to_flair))
    assert predictor.predict(array_of(to_flair), checks=InputChecks(allow_identical=True)).GetSize() == SHAPE[::-1]


def test_row06_tolerance_from_python(predictor):
    images = {"FLAIR": (voxels(0), SPACING_MM), "T1c": (voxels(2), (1.5, 1.0, 1.02))}
    with pytest.raises(InputError, match="has a spacing of"):
        predictor.predict(images)
    predictor.predict(images, checks=InputChecks(geometry_tolerance=0.5))


# --- the same in an evaluation ----------------------------------------------------------------------------------------


def test_row07_evaluation_refuses_nan_and_takes_the_flag(model, tmp_path, capfd):  # noqa: F811
    images = give(tmp_path / "images", {"p2": range(4)})
    like(images / FILE, with_nan())
    labels = np.zeros(SHAPE, np.uint8)
    labels[6:9, 6:9, 6:9] = 1
    write_image(tmp_path / "labels" / f"p2{ENDING}", labels)
    where = ("-i", images, "-l", tmp_path / "labels", "-o", tmp_path / "out", "-m", model, "--disable_tta", *QUIET)
    arguments = [*map(str, where), "--subsets", "T1c", "F"]
    capfd.readouterr()
    assert evaluate.main(arguments) == 3
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"magms_evaluate: p2: {LABEL} holds 3 NaN or infinite voxels: ")
    assert evaluate.main([*arguments, "--nan-to-zero"]) == 0
    assert f"magms_evaluate: warning: p2: {LABEL} holds 3 NaN or infinite voxels, which" in capfd.readouterr().err
    assert (tmp_path / "out" / "report.html").is_file()
