"""An nnU-Net that nobody tested, and names of cases that nobody expects."""

import json
import re
import shutil

import numpy as np
import pytest

from magms_nnunet.cli import compare, convert, evaluate, export, import_model, predict, subset_dataset
from tests.faults.tiny import FLAIR, SHAPE, SIDE_FILES, T1, T1C, T2, give
from tests.integration.workspace import ENDING, QUIET, files_in, write_image

# --- 24: another version of nnU-Net -----------------------------------------------------------------------------------


@pytest.fixture
def another_nnunet(tmp_path, monkeypatch):
    """another_nnunet(version): what pip would have installed says that it is this one."""

    def another_nnunet(version):
        metadata = tmp_path / "site" / f"nnunetv2-{version}.dist-info" / "METADATA"
        metadata.parent.mkdir(parents=True)
        metadata.write_text(f"Metadata-Version: 2.1\nName: nnunetv2\nVersion: {version}\n")
        monkeypatch.syspath_prepend(tmp_path / "site")

    return another_nnunet


@pytest.mark.fault(24)
@pytest.mark.parametrize("version", ["2.9.0", "3.8.1", "2.10"])
def test_untested_nnunet_is_one_warning_and_kept_with_each_result(
    version,
    another_nnunet,
    magms_predict,
    tmp_path,
):
    another_nnunet(version)
    images = give(tmp_path / "images", {"p1": [FLAIR], "p2": [T1C]})
    code, (line,) = magms_predict(images, tmp_path / "out")
    assert code == 0
    text = f"nnunetv2 {version} is untested, 2.8.1 is tested: "
    assert line.startswith(f"magms_predict: warning: {text}")
    for case in ("p1", "p2"):
        report = json.loads((tmp_path / "out" / f"{case}.json").read_text())
        assert report["versions"]["nnunetv2"] == version
        assert [warning[: len(text)] for warning in report["warnings"]] == [text]


@pytest.mark.fault(24)
@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (compare, ["one", "other"]),
        (convert, ["brats", "nowhere", "-d", "501"]),
        (evaluate, ["-m", "nowhere"]),
        (export, ["-d", "501", "-c", "2d"]),
        (import_model, ["-i", "nowhere.zip"]),
        (predict, ["-i", "nowhere", "-m", "nowhere"]),
        (subset_dataset, ["-d", "501", "--modalities", "T1"]),
    ],
)
def test_every_command_warns_of_untested_nnunet(command, arguments, another_nnunet, tmp_path, monkeypatch, capsys):
    for folder in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{folder}", str(tmp_path / folder))
    another_nnunet("2.9.0")
    output = [] if command in (convert, import_model) else ["-o", str(tmp_path / "out.zip")]
    assert command.main([*arguments, *output]) == 2
    first, *others = (line for line in capsys.readouterr().err.splitlines() if "starting" not in line)
    assert ": warning: nnunetv2 2.9.0 is untested, 2.8.1 is tested: " in first
    assert not any("untested" in line for line in others)


@pytest.mark.fault(24)
def test_last_number_of_the_version_may_differ(another_nnunet, magms_predict, tmp_path):
    another_nnunet("2.8.99")
    images = give(tmp_path / "images", {"p1": [FLAIR]})
    assert magms_predict(images, tmp_path / "out") == (0, [])


# --- 26: names of cases -----------------------------------------------------------------------------------------------

MARKUP = "<script>alert(1)<", "<img src=x onerror=alert(1)>", "'\"&amp;"
ODD_NAMES = ("a case", "患者-ß-é", "-rf", "200_" + 196 * "x", "$(touch pwned)", "a;b|c", *MARKUP)


@pytest.mark.fault(26)
def test_names_that_are_hidden_files_are_passed_over(magms_predict, tmp_path):
    images = give(tmp_path / "images", {name: [FLAIR] for name in (".", "..", "p1")})
    code, (line,) = magms_predict(images, tmp_path / "out" / "below")
    assert code == 0
    assert "hidden files are passed over" in line
    assert files_in(tmp_path / "out" / "below") == {f"p1{ENDING}", "p1.json"} | SIDE_FILES
    assert {path.name for path in tmp_path.iterdir()} == {"images", "out"}


@pytest.mark.fault(26)
def test_odd_names_of_cases_stay_within_the_output_folder(magms_predict, tmp_path):
    images = give(tmp_path / "images", {name: [FLAIR] for name in ODD_NAMES})
    before = files_in(images)
    assert magms_predict(images, tmp_path / "out" / "below") == (0, [])
    results = {f"{name}{suffix}" for name in ODD_NAMES for suffix in (ENDING, ".json")}
    assert {path.name for path in (tmp_path / "out" / "below").iterdir()} == results | SIDE_FILES
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"below"}
    assert {path.name for path in tmp_path.iterdir()} == {"images", "out"}
    assert files_in(images) == before
    for name in ODD_NAMES:
        assert json.loads((tmp_path / "out" / "below" / f"{name}.json").read_text())["case"] == name


@pytest.mark.fault(26)
@pytest.mark.parametrize("name", ["dataset", "plans", "Plans"])
def test_case_whose_json_would_be_nnunets_fails(name, magms_predict, tmp_path):
    images = give(tmp_path / "images", {name: [FLAIR], "p1": [FLAIR]})
    code, (line,) = magms_predict(images, tmp_path / "out")
    assert code == 3
    assert line.startswith(f"magms_predict: {name}: its JSON would take the place of nnU-Net's {name.lower()}.json")
    assert files_in(tmp_path / "out") == {f"p1{ENDING}", "p1.json"} | SIDE_FILES
    assert "labels" in json.loads((tmp_path / "out" / "dataset.json").read_text())


@pytest.mark.fault(26)
def test_name_whose_result_would_be_written_elsewhere_fails(magms_predict, tmp_path):
    images = give(tmp_path / "images", {"scan.nii": [FLAIR], "p1": [FLAIR]})
    code, (line,) = magms_predict(images, tmp_path / "out")
    assert code == 3
    assert line.startswith("magms_predict: scan.nii: its name ends in .nii, so that SimpleITK would write scan.nii")
    assert files_in(tmp_path / "out") == {f"p1{ENDING}", "p1.json"} | SIDE_FILES


@pytest.mark.fault(26)
def test_line_breaks_and_control_characters_are_shown_and_not_sent(magms_predict, tmp_path):
    images = give(tmp_path / "images", {"p1": [FLAIR]})
    (images / f"p2\nmagms_predict: all is well_0000{ENDING}").touch()
    (images / f"p3\x1b[2J_0000{ENDING}").touch()
    code, lines = magms_predict(images, tmp_path / "out")
    assert code == 3
    assert len(lines) == 2
    assert any(line.startswith(r"magms_predict: p2\nmagms_predict: all is well_0000") for line in lines)
    assert any(line.startswith(r"magms_predict: p3\x1b[2J: ") for line in lines)


@pytest.mark.fault(26)
def test_names_are_escaped_in_the_report(model, tmp_path):
    images = give(tmp_path / "images", {name: [FLAIR, T1, T1C, T2] for name in MARKUP})
    for number, name in enumerate(MARKUP):
        labels = np.zeros(SHAPE, np.uint8)
        labels[5:9, 5:9, 5 : 9 + number] = 1
        write_image(tmp_path / "labels" / f"{name}{ENDING}", labels)
    shutil.copy(model / "dataset.json", tmp_path)
    where = ("-i", images, "-l", tmp_path / "labels", "-o", tmp_path / "out", "-m", model, "--disable_tta")
    assert evaluate.main([*map(str, where), "--subsets", "T1c", "T1c+F", *QUIET]) == 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert "&lt;script&gt;alert(1)&lt;" in page
    assert re.findall(r"<script>alert|<img src=x", page) == []
    assert {path.name for path in tmp_path.iterdir()} == {"images", "labels", "out", "dataset.json"}


@pytest.mark.fault(26)
def test_case_of_as_many_characters_as_a_file_name_may_have_is_predicted_and_scored(
    magms_predict, model, tmp_path, capfd
):
    name = (255 - len(f"_0000{ENDING}")) * "x"
    images = give(tmp_path / "images", {name: range(4)})
    write_image(tmp_path / "labels" / f"{name}{ENDING}", np.ones(SHAPE, np.uint8))
    assert magms_predict(images, tmp_path / "out", "--save_probabilities") == (0, [])
    data = ("-i", images, "-l", tmp_path / "labels", "-m", model, "-o", tmp_path / "scores", "--save_segmentations")
    assert evaluate.main([*map(str, (*data, "--subsets", "T1c", "--disable_tta", *QUIET))]) == 0, capfd.readouterr().err
    assert (tmp_path / "scores/cases" / f"{name}.json").is_file()


@pytest.mark.fault(22)
def test_no_json_beside_results_names_a_folder_of_the_machine(magms_predict, model, tmp_path):
    images = give(tmp_path / "images", {"a": range(4)})
    write_image(tmp_path / "labels" / f"a{ENDING}", np.ones(SHAPE, np.uint8))
    own = shutil.copytree(model, tmp_path / "copy" / model.name)
    data = ("-i", images, "-l", tmp_path / "labels", "-m", own, "-o", tmp_path / "scores", "--attach")
    assert evaluate.main([*map(str, (*data, "--subsets", "T1c", "--disable_tta", *QUIET))]) == 0
    assert magms_predict(images, tmp_path / "out", "--modalities", "T1c", "-m", own) == (0, [])
    report = json.loads((tmp_path / "out/a.json").read_text())
    assert report["expected_dice"]["dataset"] == "images"
    run = json.loads((tmp_path / "scores/run.json").read_text())
    assert run["command"].startswith("magms_evaluate -i images -l labels -m ")
    written = [
        path for folder in ("out", "scores", "copy") for path in (tmp_path / folder).rglob("*.*") if path.is_file()
    ]
    assert {path.name for path in written} > {"a.json", "run.json", "report.html", "magms_expected_dice.json"}
    for path in written:
        assert str(tmp_path).encode() not in path.read_bytes(), path
