import json
import os
from pathlib import Path

import pytest

from magms_nnunet.cli.subset_dataset import main
from magms_nnunet.datasets import subset_dataset
from tests.datasets.nnunet_home import files_in

SOURCE = "Dataset210_BraTS"
NAMES = ("FLAIR", "T1", "T1c", "T2")
CASES = ("a", "b 1")


def touch(path: Path, text: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(path.name if text is None else text)
    return path


@pytest.fixture
def source(home) -> Path:
    """A dataset of two training cases and a test case, none of whose files is looked into."""
    folder = home / "raw" / SOURCE
    for part, cases in (("Tr", CASES), ("Ts", ("t",))):
        for case in cases:
            for channel in range(4):
                touch(folder / f"images{part}" / f"{case}_{channel:04d}.mha")
            touch(folder / f"labels{part}" / f"{case}.mha")
    write_json(folder)
    return folder


def write_json(folder: Path, **changes) -> None:
    content = {
        "channel_names": {str(channel): name for channel, name in enumerate(NAMES)},
        "labels": {"background": 0, "whole_tumor": [1, 2], "core": 2},
        "regions_class_order": [1, 2],
        "numTraining": 2,
        "file_ending": ".mha",
        "overwrite_image_reader_writer": "SimpleITKIO",
    }
    (folder / "dataset.json").write_text(json.dumps(content | changes))


def make(*flags: str, modalities=("T1c", "F"), target="211") -> int:
    return main(["-d", "210", "--modalities", *modalities, "-o", target, *flags])


def test_channels_are_renumbered_in_the_sources_order(home, source, capsys):
    assert make() == 0
    made = home / "raw" / "Dataset211_BraTS_FLAIR_T1c"
    assert files_in(made) == [
        "dataset.json",
        *(f"imagesTr/{case}_{channel}.mha" for case in CASES for channel in ("0000", "0001")),
        "imagesTs/t_0000.mha",
        "imagesTs/t_0001.mha",
        *(f"labelsTr/{case}.mha" for case in CASES),
        "labelsTs/t.mha",
    ]
    assert (made / "imagesTr" / "b 1_0001.mha").read_text() == "b 1_0002.mha"
    assert os.path.samefile(made / "imagesTr" / "b 1_0001.mha", source / "imagesTr" / "b 1_0002.mha")
    before, after = (json.loads((folder / "dataset.json").read_text()) for folder in (source, made))
    assert after == before | {"channel_names": {"0": "FLAIR", "1": "T1c"}}
    out = capsys.readouterr().out
    assert "nnU-Net will make its own" in out
    assert out.splitlines()[-1] == "next: nnUNetv2_plan_and_preprocess -d 211 -pl MAGMSPlanner -c 3d_fullres"
    assert not (home / "preprocessed").exists()


def test_files_that_macos_leaves_are_no_cases(home, source, capsys):
    for path in [*source.rglob("*.mha")]:
        touch(path.with_name(f"._{path.name}"))
    for path in source.glob("imagesTs/t_*"):
        path.unlink()  # so that hidden files are all that is there
    assert make() == 0
    made = home / "raw" / "Dataset211_BraTS_FLAIR_T1c"
    assert json.loads((made / "dataset.json").read_text())["numTraining"] == len(CASES)
    assert not [name for name in files_in(made) if "._" in name or name.startswith("imagesTs")]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"{source / 'imagesTr'}: hidden files are passed over (._a_0000.mha and 7 more)")


def test_names_that_choose_the_normalisation_stay(home, source):
    write_json(source, channel_names={"0": "CT", "1": "CT", "2": "T1+C", "3": "PET"})
    assert make(modalities=("1", "T1+C")) == 0
    made = home / "raw" / "Dataset211_BraTS_CT_T1-C"
    assert json.loads((made / "dataset.json").read_text())["channel_names"] == {"0": "CT", "1": "T1+C"}
    assert (made / "imagesTr" / "a_0000.mha").read_text() == "a_0001.mha"


@pytest.mark.parametrize("kind", ["preprocessed", "raw"])
def test_splits_are_copied_to_where_nnunet_reads_them(home, source, kind, capsys):
    if kind == "preprocessed":
        touch(home / "raw" / SOURCE / "splits_final.json", "not these")
    touch(home / kind / SOURCE / "splits_final.json", '[{"train": ["a"], "val": ["b 1"]}]')
    assert make(target="Dataset212_T1c-only", modalities=("2",)) == 0
    for copied in ("raw", "preprocessed"):
        splits = json.loads((home / copied / "Dataset212_T1c-only" / "splits_final.json").read_text())
        assert splits == [{"train": ["a"], "val": ["b 1"]}]
    assert f"copied from {home / kind / SOURCE}" in capsys.readouterr().out


def test_links_that_cannot_be_made_are_copies(home, source, monkeypatch):
    def refuse(*paths):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(subset_dataset.os, "link", refuse)
    assert make() == 0
    copy = home / "raw" / "Dataset211_BraTS_FLAIR_T1c" / "imagesTr" / "a_0001.mha"
    assert copy.read_text() == "a_0002.mha"
    assert copy.stat().st_nlink == 1


def test_a_symbolic_link_is_followed(home, source, tmp_path):
    image = source / "imagesTr" / "a_0000.mha"
    image.rename(tmp_path / "elsewhere")
    image.symlink_to(tmp_path / "elsewhere")
    assert make() == 0
    made = home / "raw" / "Dataset211_BraTS_FLAIR_T1c" / "imagesTr" / "a_0000.mha"
    assert not made.is_symlink()
    assert made.read_text() == "a_0000.mha"


def test_lists_of_images_in_dataset_json(home, source, tmp_path, monkeypatch):
    monkeypatch.setenv("ELSEWHERE", str(tmp_path / "scans"))
    images = [str(touch(tmp_path / "scans" / f"{name}.mha")) for name in ("w", "x", "y")]
    lists = {"c": {"images": [*images, "$ELSEWHERE/z.mha"], "label": "labelsTr/a.mha"}}
    touch(tmp_path / "scans" / "z.mha")
    write_json(source, dataset=lists, numTraining=1)
    assert make(modalities=("T1c", "T2")) == 0
    made = home / "raw" / "Dataset211_BraTS_T1c_T2"
    read = {path.name: path.read_text() for path in (*made.glob("imagesTr/*"), *made.glob("labelsTr/*"))}
    assert read == {"c_0000.mha": "y.mha", "c_0001.mha": "z.mha", "c.mha": "a.mha"}
    description = json.loads((made / "dataset.json").read_text())
    assert "dataset" not in description
    assert description["numTraining"] == 1


@pytest.mark.parametrize("name", ["../../c", "c/d", "", ".c"])
def test_lists_cannot_lead_out_of_the_dataset(home, source, name, capsys):
    files = {"images": [f"imagesTr/a_000{channel}.mha" for channel in range(4)], "label": "labelsTr/a.mha"}
    write_json(source, dataset={name: files})
    before = files_in(home)
    assert make() == 2
    assert f"case {name!r}: rename" in capsys.readouterr().err
    assert files_in(home) == before


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"file_ending": None}, "file_ending must be something like .nii.gz, got None"),
        ({"dataset": ["a"]}, "dataset must hold an object per case"),
        ({"dataset": {"a": {"images": ["a.mha"]}}}, "case 'a' must have images, a list of files, and label, a file"),
    ],
)
def test_a_dataset_json_that_makes_no_sense(home, source, changes, says, capsys):
    write_json(source, **changes)
    assert f"{source / 'dataset.json'}: {says}" in error(home, capsys)


def test_a_dataset_json_that_is_a_list(home, source, capsys):
    (source / "dataset.json").write_text("[]")
    assert f"{source / 'dataset.json'} must hold a JSON object, not a list" in error(home, capsys)


def error(home, capsys, *flags: str, **options) -> str:
    before = files_in(home)
    assert make(*flags, **options) == 2
    assert files_in(home) == before
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_all_cases_without_label_are_named(home, source, capsys):
    (source / "labelsTr" / "b 1.mha").unlink()
    assert "1 of 2 training cases have no label: b 1 lacks its label b 1.mha: add the files" in error(home, capsys)


def test_incomplete_cases_keep_what_they_have_and_those_without_anything_are_left_out(home, source, capsys):
    (source / "imagesTr" / "a_0002.mha").unlink()
    (source / "imagesTr" / "b 1_0001.mha").unlink()  # not asked for
    touch(source / "imagesTr" / "c_0001.mha")
    touch(source / "labelsTr" / "c.mha")
    touch(source / "imagesTs" / "u_0003.mha")
    touch(source / "splits_final.json", '[{"train": ["a", "c"], "val": ["b 1"]}]')
    assert make() == 0
    out = capsys.readouterr().out
    assert "note: cases that have none of the modalities are left out: c, u\n" in out
    assert "note: 1 cases lack one of the modalities" in out
    made = home / "raw" / "Dataset211_BraTS_FLAIR_T1c"
    images = [name for name in files_in(made) if name.startswith("images")]
    assert images == [
        *("imagesTr/a_0000.mha", "imagesTr/b 1_0000.mha", "imagesTr/b 1_0001.mha"),
        *("imagesTs/t_0000.mha", "imagesTs/t_0001.mha"),
    ]
    assert json.loads((made / "splits_final.json").read_text()) == [{"train": ["a"], "val": ["b 1"]}]
    assert json.loads((made / "dataset.json").read_text())["numTraining"] == 2


def test_a_modality_that_no_training_case_has(home, source, capsys):
    for case in CASES:
        (source / "imagesTr" / f"{case}_0002.mha").unlink()
    assert "no training case has T1c: choose other --modalities" in error(home, capsys)


def test_lists_with_fewer_images(home, source, capsys):
    lists = {
        "named": {"images": ["imagesTr/a_0000.mha", "imagesTr/a_0002.mha"], "label": "labelsTr/a.mha"},
        "placed": {"images": ["", "imagesTr/b 1_0001.mha", "imagesTr/b 1_0002.mha", ""], "label": "labelsTr/b 1.mha"},
    }
    write_json(source, dataset=lists)
    assert make() == 0
    made = home / "raw" / "Dataset211_BraTS_FLAIR_T1c"
    read = {path.name: path.read_text() for path in made.glob("imagesTr/*")}
    assert read == {"named_0000.mha": "a_0000.mha", "named_0001.mha": "a_0002.mha", "placed_0001.mha": "b 1_0002.mha"}
    (source / "imagesTr" / "a_0002.mha").unlink()
    assert "named: " in (message := error(home, capsys, target="212"))
    assert 'a_0002.mha does not exist: correct dataset.json ("" for no image)' in message


def test_a_misnamed_image(home, source, capsys):
    touch(source / "imagesTr" / "a_002.mha")
    assert "a_002.mha belongs to no case" in error(home, capsys)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"modalities": ("PET",)}, "unknown modality 'PET': choose among FLAIR, T1, T1c, T2"),
        ({"target": "0"}, "'0' is no id from 1 to 999"),
        ({"target": "Dataset٥٠١_Name"}, "is no id from 1 to 999"),
        ({"target": "../Dataset211_x"}, "'../Dataset211_x' is no id"),
        ({"target": "Dataset211_../x"}, "'Dataset211_../x' is no id"),
        ({"target": "210"}, "id 210 belongs to Dataset210_BraTS in nnUNet_raw"),
        ({"target": SOURCE}, "are the same dataset"),
    ],
)
def test_bad_flags(home, source, capsys, options, expected):
    assert expected in error(home, capsys, **options)


def test_an_unknown_source_and_an_unset_variable(home, source, capsys, monkeypatch):
    assert main(["-d", "77", "--modalities", "F", "-o", "211"]) == 2
    assert "no dataset '77' in nnUNet_raw" in capsys.readouterr().err
    assert main(["-d", "Dataset210_Brats", "--modalities", "F", "-o", "211"]) == 2
    assert "there is Dataset210_BraTS" in capsys.readouterr().err
    touch(home / "raw" / "Dataset210_Other" / "dataset.json")
    assert "Dataset210_BraTS, Dataset210_Other" in error(home, capsys)
    monkeypatch.delenv("nnUNet_raw")
    assert "nnUNet_raw is not set" in error(home, capsys)


def test_an_existing_dataset_is_replaced_only_on_request(home, source, capsys):
    assert make() == 0
    made = home / "raw" / "Dataset211_BraTS_FLAIR_T1c"
    touch(made / "old")
    touch(home / "preprocessed" / made.name / "dataset_fingerprint.json")
    touch(home / "preprocessed" / made.name / "splits_final.json", "of the old one")
    capsys.readouterr()
    assert "exists already" in error(home, capsys)
    assert make("--overwrite") == 0
    assert not (made / "old").exists()
    assert (made / "imagesTr" / "a_0000.mha").is_file()
    assert not (home / "preprocessed" / made.name / "splits_final.json").exists()
    assert capsys.readouterr().out.endswith(" --clean\n")


@pytest.mark.parametrize("flags", [(), ("--overwrite",)])
def test_a_failure_leaves_what_was_there(home, source, monkeypatch, flags):
    if flags:
        assert make() == 0
    before = files_in(home)

    def fail(path, target):
        if target.name == "t_0001.mha":
            raise KeyboardInterrupt
        touch(target)

    monkeypatch.setattr(subset_dataset, "_link", fail)
    assert make(*flags) == 130
    assert files_in(home) == before
    assert sorted(path.name for path in (home / "raw").iterdir() if path.name.startswith(".")) == []


@pytest.mark.parametrize("flags", [(), ("--overwrite",)])
def test_a_stop_between_the_renames_leaves_what_was_there(home, source, monkeypatch, flags):
    if flags:
        assert make() == 0
    made, stops = home / "raw" / "Dataset211_BraTS_FLAIR_T1c", []
    before, rename = files_in(home), os.rename

    def stopped(path, target):
        rename(path, target)
        if made in (path, target) and len(stops) < 1:
            stops.append(path)
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "rename", stopped)
    assert make(*flags) == 130
    assert stops
    assert files_in(home) == before


@pytest.mark.parametrize("place", ["raw", "preprocessed"])
def test_what_comes_meanwhile_is_not_replaced(home, source, monkeypatch, capsys, place):
    theirs, link = home / place / "Dataset211_BraTS_FLAIR_T1c" / "splits_final.json", subset_dataset._link

    def link_slowly(path, target):
        touch(theirs, "theirs")
        link(path, target)

    monkeypatch.setattr(subset_dataset, "_link", link_slowly)
    before = files_in(home)
    assert make() == 2
    assert "exists already" in capsys.readouterr().err
    assert files_in(home) == sorted([*before, str(theirs.relative_to(home))])
    assert theirs.read_text() == "theirs"
