import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import SimpleITK as sitk

from magms_nnunet.errors import CaseError, InputError, InputWarning
from magms_nnunet.evaluation.labelled_cases import (
    LabelledCase,
    cases_of_folders,
    check_labelled_files,
    scored_cases,
    validation_cases,
)
from magms_nnunet.images.cases import Case
from magms_nnunet.images.checks import InputChecks
from magms_nnunet.modalities import Modalities
from tests.unprivileged import unreadable

M = Modalities(("FLAIR", "T1c"))
NAME, ENDING = "Dataset901_Balls", ".nii.gz"


@pytest.fixture
def raw(tmp_path, monkeypatch):
    """A dataset of cases a to d, of which fold 0 keeps b and a, fold 1 c and d."""
    for kind in ("raw", "preprocessed"):
        monkeypatch.setenv(f"nnUNet_{kind}", str(tmp_path / kind))
    raw = tmp_path / "raw" / NAME
    for folder in (raw / "imagesTr", raw / "labelsTr", tmp_path / "preprocessed" / NAME):
        folder.mkdir(parents=True)
    for name in "abcd":
        (raw / f"labelsTr/{name}{ENDING}").touch()
        for channel in range(len(M)):
            (raw / f"imagesTr/{name}_{channel:04d}{ENDING}").touch()
    dataset(raw)
    split(raw, [{"train": ["c", "d"], "val": ["b", "a"]}, {"train": ["a", "b"], "val": ["c", "d"]}])
    return raw


def dataset(raw, **content):
    channels = {str(channel): name for channel, name in enumerate(M.names)}
    (raw / "dataset.json").write_text(json.dumps({"channel_names": channels, "file_ending": ENDING} | content))


def split(raw, content):
    text = content if isinstance(content, str) else json.dumps(content)
    (raw.parents[1] / "preprocessed" / NAME / "splits_final.json").write_text(text)


def one_line(function, *arguments) -> str:
    with pytest.raises(InputError) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_files_that_macos_leaves_are_no_cases(raw):
    for folder in ("imagesTr", "labelsTr"):
        for path in [*(raw / folder).iterdir()]:
            path.with_name(f"._{path.name}").touch()
        (raw / folder / ".DS_Store").touch()
    with pytest.warns(InputWarning, match="hidden files are passed over") as warned:
        cases = cases_of_folders(raw / "imagesTr", raw / "labelsTr", ENDING, M)
    assert [labelled.case.name for labelled in cases] == [*"abcd"]
    assert len(warned) == 2  # a folder each


@pytest.mark.parametrize(("fold", "names"), [(0, ["a", "b"]), ("1", ["c", "d"])])
def test_a_fold_is_evaluated_on_what_it_keeps_for_validation(raw, fold, names):
    cases = validation_cases(NAME, fold, M)
    assert [labelled.case.name for labelled in cases] == names
    for labelled, name in zip(cases, names, strict=True):
        assert labelled.reference == raw / f"labelsTr/{name}{ENDING}"
        assert labelled.case.files == {m: raw / f"imagesTr/{name}_{m:04d}{ENDING}" for m in range(2)}


def test_lists_of_files_in_dataset_json_are_followed_as_nnunet_does(raw, tmp_path, monkeypatch):
    monkeypatch.setenv("SCANS", str(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere").mkdir()
    for name in "ab":
        (tmp_path / f"elsewhere/{name}.nii.gz").touch()
    files = {
        name: {
            "images": [f"$SCANS/{name}_flair.nii.gz", f"imagesTr/{name}_0001{ENDING}"],
            "label": f"$SCANS/{name}.nii.gz",
        }
        for name in "ab"
    }
    dataset(raw, dataset=files)
    first, second = validation_cases(NAME, 0, M)
    assert first.reference == tmp_path / "elsewhere/a.nii.gz"
    assert second.case == Case("b", {0: tmp_path / "elsewhere/b_flair.nii.gz", 1: raw / f"imagesTr/b_0001{ENDING}"})
    assert one_line(validation_cases, NAME, 1, M).endswith(f"in {raw}: c, d")


def test_lists_with_fewer_files_are_of_cases_that_lack_modalities(raw):
    label = f"labelsTr/a{ENDING}"
    lists = {
        "a": {"images": [f"imagesTr/a_0001{ENDING}"], "label": label},
        "b": {"images": [f"imagesTr/b_0000{ENDING}", ""], "label": label},
    }
    dataset(raw, dataset=lists)
    assert [labelled.case.files for labelled in validation_cases(NAME, 0, M)] == [
        {1: raw / f"imagesTr/a_0001{ENDING}"},
        {0: raw / f"imagesTr/b_0000{ENDING}"},
    ]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"file_ending": None}, "file_ending must be something like .nii.gz, got None"),
        ({"file_ending": 3}, "file_ending must be something like .nii.gz, got 3"),
        ({"dataset": ["a"]}, "dataset must hold an object per case, got ['a']"),
        (
            {"dataset": {"a": "a.nii.gz"}},
            "case 'a' must have images, a list of files, and label, a file; got 'a.nii.gz'",
        ),
        ({"dataset": {"a": {"images": ["a.nii.gz"]}}}, "case 'a' must have images"),
        ({"dataset": {"a": {"images": "a.nii.gz", "label": "a.nii.gz"}}}, "case 'a' must have images"),
        ({"dataset": {"a": {"images": [1], "label": "a.nii.gz"}}}, "case 'a' must have images"),
    ],
)
def test_a_dataset_json_that_makes_no_sense(raw, content, says):
    dataset(raw, **content)
    assert f"{raw / 'dataset.json'}: {says}" in one_line(validation_cases, NAME, 0, M)


def test_a_case_without_image_or_label_is_named(raw):
    (raw / f"labelsTr/a{ENDING}").unlink()
    for channel in range(2):
        (raw / f"imagesTr/b_{channel:04d}{ENDING}").unlink()
    assert one_line(validation_cases, NAME, 0, M) == (
        f"fold 0 validates on cases without images or labels in {raw}: b, a"
    )


@pytest.mark.parametrize("content", ["[", "[]", "{}", '[{"train": []}]', "[[]]", "[{'val': []}]", '[{"val": []}]'])
def test_a_split_without_this_fold(raw, content):
    split(raw, content)
    message = one_line(validation_cases, NAME, 0, M)
    assert "splits_final.json has no validation cases for fold 0: give another -f" in message


def test_a_split_that_is_not_there_yet(raw):
    (raw.parents[1] / "preprocessed" / NAME / "splits_final.json").unlink()
    assert "splits_final.json: nnU-Net writes it in training; or give -i and -l" in one_line(
        validation_cases, NAME, 0, M
    )


def test_fold_all_has_nothing_to_validate_on(raw):
    assert "give -i and -l" in one_line(validation_cases, NAME, "all", M)


@pytest.mark.parametrize("kind", ["raw", "preprocessed"])
def test_a_variable_that_is_not_set_is_named(raw, kind, monkeypatch):
    monkeypatch.delenv(f"nnUNet_{kind}")
    assert f"nnUNet_{kind} is not set: export nnUNet_{kind}=FOLDER" in one_line(validation_cases, NAME, 0, M)


@pytest.mark.parametrize("names", [("T1c", "FLAIR"), ("FLAIR", "T1c", "T2"), ("FLAIR",)])
def test_a_dataset_with_other_channels(raw, names):
    message = one_line(validation_cases, NAME, 0, Modalities(names))
    assert message.startswith(f"the model reads {', '.join(names)}, the dataset in {raw} has FLAIR, T1c: ")


def test_a_dataset_without_dataset_json(raw):
    (raw / "dataset.json").unlink()
    assert f"no readable dataset.json in {raw}" in one_line(validation_cases, NAME, 0, M)


def test_two_folders_are_paired_by_name(raw):
    cases = cases_of_folders(raw / "imagesTr", raw / "labelsTr", ENDING, M)
    assert [labelled.case.name for labelled in cases] == ["a", "b", "c", "d"]
    assert cases[3].reference == raw / f"labelsTr/d{ENDING}"


def test_a_case_may_lack_channels_and_files_of_another_kind_do_not_matter(raw):
    (raw / f"imagesTr/a_0000{ENDING}").unlink()
    for folder in ("imagesTr", "labelsTr"):
        (raw / folder / "notes.txt").touch()
    assert cases_of_folders(raw / "imagesTr", raw / "labelsTr", ENDING, M)[0].case.files.keys() == {1}


def test_folders_of_different_cases_name_all_differences(raw):
    (raw / f"labelsTr/a{ENDING}").rename(raw / f"labelsTr/A{ENDING}")
    (raw / f"imagesTr/b_01{ENDING}").touch()
    message = one_line(cases_of_folders, raw / "imagesTr", raw / "labelsTr", ENDING, M)
    assert f"images without labels in {raw / 'labelsTr'}: a;" in message
    assert f"labels without images in {raw / 'imagesTr'}: A;" in message
    assert message.endswith(f"files in {raw / 'imagesTr'} that belong to no case: b_01{ENDING}")


def test_images_with_another_ending_are_not_overlooked(raw):
    (raw / f"imagesTr/b_0001{ENDING}").rename(raw / "imagesTr/b_0001.nii")
    message = one_line(cases_of_folders, raw / "imagesTr", raw / "labelsTr", ENDING, M)
    assert message.endswith(f"images in {raw / 'imagesTr'} that do not end in {ENDING}: b_0001.nii")


def test_long_lists_are_cut(raw):
    for number in range(11):
        (raw / f"labelsTr/e{number:02d}{ENDING}").touch()
    message = one_line(cases_of_folders, raw / "imagesTr", raw / "labelsTr", ENDING, M)
    assert message.endswith("e00, e01, e02, e03, e04, e05, e06, e07 and 3 more")


def test_folders_that_are_not_there(raw):
    assert "nowhere does not exist" in one_line(cases_of_folders, raw / "nowhere", raw / "labelsTr", ENDING, M)
    assert "nowhere does not exist" in one_line(cases_of_folders, raw / "imagesTr", raw / "nowhere", ENDING, M)


@pytest.mark.parametrize("kind", ["input", "label"])
def test_folders_that_may_not_be_read(kind):
    with TemporaryDirectory() as home:  # root's tmp_path is closed to others as a whole
        Path(home).chmod(0o755)
        folders = {name: Path(home, name) for name in ("input", "label")}
        for name, folder in folders.items():
            folder.mkdir()
            (folder / ("a_0000.nii.gz" if name == "input" else "a.nii.gz")).touch()
        with unreadable(folders[kind]):
            message = one_line(cases_of_folders, *folders.values(), ENDING, M)
    assert message == f"{kind} folder {folders[kind]} cannot be read (Permission denied): get permission, or copy it"


def test_channels_of_folders_are_checked_where_a_dataset_json_is_above_them(raw):
    other = Modalities(("T1c", "FLAIR"))
    assert "same channel_names" in one_line(cases_of_folders, raw / "imagesTr", raw / "labelsTr", ENDING, other)
    (raw / "dataset.json").unlink()
    assert len(cases_of_folders(raw / "imagesTr", raw / "labelsTr", ENDING, other)) == 4


def test_channels_that_the_model_does_not_have(raw):
    """Images of FLAIR, T1 and T1c are no images of FLAIR and T1c, whatever the first two channels look like."""
    (raw / "dataset.json").unlink()
    (raw / f"imagesTr/b_0002{ENDING}").touch()
    message = one_line(cases_of_folders, raw / "imagesTr", raw / "labelsTr", ENDING, M)
    assert f"the model has channels 0 to 1 (FLAIR, T1c), and {raw / 'imagesTr'} has others: b_0002{ENDING}" in message


def test_a_case_needs_only_what_the_subsets_need(tmp_path):
    files = {"a": (0, 1), "b": (1,), "c": (), "d": (0, 1, 7)}
    cases = [LabelledCase(Case(name, dict.fromkeys(channels, tmp_path)), tmp_path) for name, channels in files.items()]
    assert scored_cases([cases[0], cases[3]], [(0, 1)], M) == [cases[0], cases[3]]
    assert scored_cases(cases[:2], [(1,)], M) == cases[:2]
    with pytest.warns(InputWarning, match="1 of 3 cases lack modalities") as warned:
        assert scored_cases(cases, [(0,), (1,), (0, 1)], M) == [cases[0], cases[1], cases[3]]
    assert "1 of 4 cases have none of the subsets and are left out: c" in str(warned[0].message)
    assert one_line(scored_cases, cases[1:3], [(1,), (0, 1)], M).startswith("no case has all of FLAIR+T1c: ")


def test_a_damaged_reference_is_named(tmp_path):
    """SimpleITK would read the half of it that is missing as background."""
    image, reference = tmp_path / f"a_0001{ENDING}", tmp_path / f"a{ENDING}"
    voxels = np.random.default_rng(0).integers(0, 2, (8, 32, 32)).astype(np.uint8)
    for path in (image, reference):
        sitk.WriteImage(sitk.GetImageFromArray(voxels), str(path))
    labelled = LabelledCase(Case("a", {1: image}), reference)
    check_labelled_files(labelled, (1,), M)
    reference.write_bytes(reference.read_bytes()[:-500])
    with pytest.raises(CaseError, match=rf"a: a{ENDING} \(reference\) is truncated or damaged .*: copy it again"):
        check_labelled_files(labelled, (1,), M)
    sitk.WriteImage(sitk.JoinSeries([sitk.GetImageFromArray(voxels)] * 2), str(reference))
    with pytest.raises(CaseError, match=rf"a: a{ENDING} \(reference\) is 4-D"):
        check_labelled_files(labelled, (1,), M)
    holes = np.where(voxels, np.float32(np.nan), 0)
    sitk.WriteImage(sitk.GetImageFromArray(holes), str(reference))
    with pytest.raises(CaseError, match=rf"a: a{ENDING} \(reference\) holds \d+ NaN or infinite voxels: repair it"):
        check_labelled_files(labelled, (1,), M)


def test_a_reference_that_is_turned_is_refused(tmp_path):
    image = sitk.GetImageFromArray(np.random.default_rng(0).normal(size=(8, 32, 32)))
    sitk.WriteImage(image, str(tmp_path / f"a_0001{ENDING}"))
    reference = sitk.GetImageFromArray(np.ones((8, 32, 32), np.uint8))
    reference.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    sitk.WriteImage(reference, str(tmp_path / f"a{ENDING}"))
    labelled = LabelledCase(Case("a", {1: tmp_path / f"a_0001{ENDING}"}), tmp_path / f"a{ENDING}")
    with pytest.raises(CaseError, match=rf"a{ENDING} \(reference\) is oriented RAS, a_0001{ENDING} LPS: resample it"):
        check_labelled_files(labelled, (1,), M)


def test_a_reference_that_lies_elsewhere_is_refused(tmp_path):
    """It has the shape, the spacing and the direction of the images, and another origin."""
    image = sitk.GetImageFromArray(np.random.default_rng(0).normal(size=(8, 32, 32)))
    sitk.WriteImage(image, str(tmp_path / f"a_0001{ENDING}"))
    reference = sitk.GetImageFromArray(np.ones((8, 32, 32), np.uint8))
    reference.SetOrigin((0.0, 0.0, 0.5))
    sitk.WriteImage(reference, str(tmp_path / f"a{ENDING}"))
    labelled = LabelledCase(Case("a", {1: tmp_path / f"a_0001{ENDING}"}), tmp_path / f"a{ENDING}")
    with pytest.raises(CaseError) as caught:
        check_labelled_files(labelled, (1,), M)
    assert str(caught.value).startswith(
        f"a: a{ENDING} (reference) begins at 0 0 0.5 mm, a_0001{ENDING} at 0 0 0 mm: resample it to the images' grid"
    )
    check_labelled_files(labelled, (1,), M, InputChecks(geometry_tolerance=0.6))
