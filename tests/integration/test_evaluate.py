"""magms_evaluate and magms_compare on the chain's model: all subsets from one sweep, as if each had been predicted."""

import csv
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.integration.workspace import ENDING, files_in, give, read_voxels, write_image

SUBSETS = [
    *("FLAIR", "T1", "T1c", "T2"),
    *("FLAIR+T1", "FLAIR+T1c", "FLAIR+T2", "T1+T1c", "T1+T2", "T1c+T2"),
    *("FLAIR+T1+T1c", "FLAIR+T1+T2", "FLAIR+T1c+T2", "T1+T1c+T2"),
    "FLAIR+T1+T1c+T2",
]
CASES = ("case0", "case1")


def rows(folder: Path) -> list[dict]:
    with open(folder / "scores.csv", newline="") as file:
        return list(csv.DictReader(file))


def entropies(folder: Path) -> list[float]:
    with open(folder / "entropy.csv", newline="") as file:
        return [float(row["entropy_nats"]) for row in csv.DictReader(file)]


def dice(folder: Path) -> dict[tuple, float]:
    return {(row["case"], row["subset"], row["region"]): float(row["dice"]) for row in rows(folder)}


@pytest.fixture(scope="module")
def swept(evaluate, aligned, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("evaluation") / "swept"
    images, labels = aligned
    assert evaluate(folder, "-i", images, "-l", labels, "--save_segmentations") == 0
    return folder


def test_every_case_subset_and_region_has_a_row_and_the_summary_is_of_them(swept):
    assert [(row["case"], row["subset"], row["region"]) for row in rows(swept)] == [
        (case, subset, region) for case in CASES for subset in SUBSETS for region in ("edema", "core")
    ]
    summary = json.loads((swept / "summary.json").read_text())
    assert list(summary["subsets"]) == SUBSETS
    of_subset = [value for (_, subset, _), value in dice(swept).items() if subset == "T1c"]
    assert summary["subsets"]["T1c"]["mean"]["dice"]["mean"] == pytest.approx(np.mean(of_subset))
    shapley = summary["guidance"]["mean"]["shapley"]
    assert sum(shapley.values()) == pytest.approx(summary["subsets"][SUBSETS[-1]]["mean"]["dice"]["mean"])
    assert len(set(entropies(swept))) == len(CASES) * len(SUBSETS)  # every case and every subset matters
    assert 0 < min(entropies(swept)) < max(entropies(swept)) < np.log(3)


def test_sweep_segments_as_separate_predictions_do(swept, predict, aligned, tmp_path):
    """Exactly: every subset has the same crop here, so the tiles lie alike."""
    for subset in ("FLAIR", "T1c+T2", "FLAIR+T1+T1c", SUBSETS[-1]):
        names = ("--modalities", *subset.split("+"))
        assert predict(aligned[0], tmp_path / subset, "--disable_tta", *names) == 0
        for case in CASES:
            separate = read_voxels(tmp_path / subset / f"{case}{ENDING}")
            np.testing.assert_array_equal(read_voxels(swept / "segmentations" / subset / f"{case}{ENDING}"), separate)


def test_sweep_of_any_subset_trainer_segments_as_separate_predictions_do(
    any_subset_model, predict, evaluate, aligned, tmp_path
):
    images, labels = aligned
    trainer, subsets = ("-tr", "AnySubsetTrainer"), ("T1c", "FLAIR+T2", SUBSETS[-1])
    flags = ("-i", images, "-l", labels, "--save_segmentations", *trainer, "--subsets", *subsets)
    assert evaluate(tmp_path / "swept", *flags) == 0
    assert len(set(entropies(tmp_path / "swept"))) == len(CASES) * len(subsets)  # every subset matters
    for subset in subsets:
        names = ("--modalities", *subset.split("+"))
        assert predict(images, tmp_path / subset, "--disable_tta", *trainer, *names) == 0
        for case in CASES:
            separate = read_voxels(tmp_path / subset / f"{case}{ENDING}")
            swept_voxels = read_voxels(tmp_path / "swept/segmentations" / subset / f"{case}{ENDING}")
            np.testing.assert_array_equal(swept_voxels, separate)


def test_fast_sweep_differs_by_ties_at_most_and_is_not_mixed_with_others(swept, evaluate, aligned, tmp_path, capfd):
    command = ("-i", aligned[0], "-l", aligned[1], "--save_segmentations")
    assert evaluate(tmp_path / "fast", *command, "--fast") == 0
    for subset in SUBSETS:
        for case in CASES:
            file = Path("segmentations") / subset / f"{case}{ENDING}"
            assert (read_voxels(tmp_path / "fast" / file) != read_voxels(swept / file)).mean() <= 1 / 5000
    assert evaluate(tmp_path / "fast", *command) == 2
    assert "settings" in capfd.readouterr().err


def test_sweep_mirrors_as_predictions_do(workspace, predict, evaluate, aligned, tmp_path):
    sweep = ("--subsets", "T1c+F", "--save_segmentations", "-i", aligned[0], "-l", aligned[1])
    model = (*workspace.of_magms, "-c", "3d_fullres")
    assert workspace.magms_evaluate("-o", tmp_path / "out", *model, *sweep) == 0
    assert predict(aligned[0], tmp_path / "separate", "--modalities", "T1c", "F") == 0
    for case in CASES:
        separate = read_voxels(tmp_path / "separate" / f"{case}{ENDING}")
        swept_voxels = read_voxels(tmp_path / "out/segmentations/FLAIR+T1c" / f"{case}{ENDING}")
        np.testing.assert_array_equal(swept_voxels, separate)


def test_scores_are_those_of_the_segmentations(swept, aligned):
    from magms_nnunet.metrics.dice import dice as dice_of

    for (case, subset, region), value in dice(swept).items():
        label = {"edema": 1, "core": 2}[region]
        reference = read_voxels(aligned[1] / f"{case}{ENDING}") == label
        prediction = read_voxels(swept / "segmentations" / subset / f"{case}{ENDING}") == label
        assert value == pytest.approx(dice_of(reference, prediction))


def test_absent_protocol_reads_only_the_subset_and_agrees_where_crops_do(swept, evaluate, aligned, tmp_path):
    images, labels = aligned
    absent = ("-i", images, "-l", labels, "--protocol", "absent")
    assert evaluate(tmp_path / "absent", *absent) == 0
    assert dice(tmp_path / "absent") == dice(swept)
    assert json.loads((tmp_path / "absent/run.json").read_text())["protocol"] == "absent"

    only = give(images, tmp_path / "only", dict.fromkeys(CASES, (0, 2)))
    assert evaluate(tmp_path / "out", "-i", only, "-l", labels, "--protocol", "absent", "--subsets", "T1c+F", "F") == 0
    assert dice(tmp_path / "out") == {key: d for key, d in dice(swept).items() if key[1] in ("FLAIR", "FLAIR+T1c")}


def test_fold_is_evaluated_on_its_validation_cases(evaluate, workspace, tmp_path):
    assert evaluate(tmp_path / "out", "--subsets", "T1c") == 0
    split = json.loads((workspace.preprocessed / "splits_final.json").read_text())[0]
    assert {row["case"] for row in rows(tmp_path / "out")} == set(split["val"])
    run = json.loads((tmp_path / "out/run.json").read_text())
    assert run["training"]["epochs"] >= 4
    assert run["settings"] == {"step_size": 0.5, "mirroring": False}


def test_killed_evaluation_goes_on_where_it_stopped(swept, evaluate, aligned, tmp_path, monkeypatch, capfd):
    from magms_nnunet.evaluation import score_cases as module

    scored = []
    score = module.score_logits

    def killed_in_the_second_case(labelled, *arguments):
        if scored and labelled.case.name not in scored:
            raise KeyboardInterrupt
        scored.append(labelled.case.name)
        return score(labelled, *arguments)

    flags = ("-i", aligned[0], "-l", aligned[1])
    with monkeypatch.context() as patch:
        patch.setattr(module, "score_logits", killed_in_the_second_case)
        assert evaluate(tmp_path / "out", *flags) == 130
    assert files_in(tmp_path / "out/cases") == {"case0.json"}
    assert not (tmp_path / "out/scores.csv").exists()
    with monkeypatch.context() as patch:
        patch.setattr(
            module, "score_logits", lambda *arguments: scored.append(arguments[0].case.name) or score(*arguments)
        )
        assert evaluate(tmp_path / "out", *flags) == 0
    assert scored == ["case0", "case1"]
    assert dice(tmp_path / "out") == dice(swept)


def test_folder_of_another_evaluation_is_not_mixed_up(swept, evaluate, aligned, tmp_path, capfd):
    shutil.copytree(swept, tmp_path / "out")
    before = (tmp_path / "out/scores.csv").read_bytes()
    flags = ("-i", aligned[0], "-l", aligned[1])
    for other, named in (
        (("--protocol", "absent"), "protocol"),
        (("-step_size", "1"), "settings"),
        (("--nan-to-zero",), "checks"),
        (("--subsets", "T1c"), "subsets"),
    ):
        capfd.readouterr()
        assert evaluate(tmp_path / "out", *flags, *other) == 2
        assert f"holds an evaluation with another {named}: choose another -o" in capfd.readouterr().err
    run = json.loads((tmp_path / "out/run.json").read_text())
    run["model"]["sha256"] = "0" * 64
    (tmp_path / "out/run.json").write_text(json.dumps(run))
    assert evaluate(tmp_path / "out", *flags) == 2
    assert "holds an evaluation with another model: choose another -o" in capfd.readouterr().err
    assert (tmp_path / "out/scores.csv").read_bytes() == before


def test_corrected_labels_are_not_mixed_with_those_before(swept, evaluate, aligned, tmp_path, capfd):
    shutil.copytree(swept, tmp_path / "out")
    labels = shutil.copytree(aligned[1], tmp_path / "labels")
    assert evaluate(tmp_path / "out", "-i", aligned[0], "-l", labels) == 2
    assert "holds an evaluation with another labels: choose another -o" in capfd.readouterr().err


def test_files_are_told_by_content_and_not_by_time(swept, evaluate, aligned, tmp_path, capfd):
    """Copying keeps times, and clocks differ."""
    out, corrected = shutil.copytree(swept, tmp_path / "out"), aligned[1] / f"case1{ENDING}"
    before, content = corrected.stat(), corrected.read_bytes()
    try:
        os.utime(corrected, (before.st_mtime + 1e6, before.st_mtime + 1e6))
        assert evaluate(out, "-i", aligned[0], "-l", aligned[1]) == 0
        voxels = read_voxels(corrected)
        voxels[0, 0] = 1 - voxels[0, 0]
        write_image(corrected, voxels)
        os.utime(corrected, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert evaluate(out, "-i", aligned[0], "-l", aligned[1]) == 2
    finally:
        corrected.write_bytes(content)
        os.utime(corrected, ns=(before.st_atime_ns, before.st_mtime_ns))
    line = f"case1: {out / 'cases/case1.json'} was scored with another reference than {corrected}: remove it"
    assert line in capfd.readouterr().err


def test_segmentations_that_are_wanted_later_are_predicted_again(evaluate, aligned, tmp_path):
    flags = ("-i", aligned[0], "-l", aligned[1], "--subsets", "T1c")
    for more in ((), ("--save_segmentations",)):
        assert evaluate(tmp_path / "out", *flags, *more) == 0
    assert files_in(tmp_path / "out/segmentations/T1c") == {f"{case}{ENDING}" for case in CASES}


def test_parts_are_merged_to_the_same_tables(swept, evaluate, aligned, workspace, tmp_path, capfd):
    flags = ("-i", aligned[0], "-l", aligned[1], "-num_parts", 2)
    for part in range(2):
        assert evaluate(tmp_path / str(part), *flags, "-part_id", part) == 0
    merged = tmp_path / "merged"
    assert workspace.magms_evaluate("--merge", tmp_path / "0", tmp_path / "1", "-o", merged) == 0
    for table in ("scores.csv", "entropy.csv", "summary.json"):
        assert (merged / table).read_bytes() == (swept / table).read_bytes()
    for wrong, message in (
        ((tmp_path / "0",), "the parts are not complete, 1 of 2 cases are missing (case1)"),
        ((tmp_path / "0", tmp_path / "1", swept), "case0 is in"),
    ):
        capfd.readouterr()
        assert workspace.magms_evaluate("--merge", *wrong, "-o", tmp_path / "wrong") == 2
        assert message in capfd.readouterr().err
        assert files_in(tmp_path / "wrong") == set()


def test_attached_dice_is_quoted_by_predictions(swept, evaluate, predict, workspace, aligned, tmp_path):
    flags = ("-i", aligned[0], "-l", aligned[1], "--attach")
    try:
        shutil.copytree(swept, tmp_path / "out")
        assert evaluate(tmp_path / "out", *flags) == 0
        assert predict(workspace.test, tmp_path / "predictions", "--modalities", "T1c") == 0
    finally:
        (workspace.model() / "magms_expected_dice.json").unlink()
    expected = json.loads((tmp_path / "predictions/case5.json").read_text())["expected_dice"]
    summary = json.loads((swept / "summary.json").read_text())["subsets"]["T1c"]
    assert expected["mean"] == summary["mean"]["dice"]["mean"]
    assert expected["regions"] == {name: scores["dice"]["mean"] for name, scores in summary["regions"].items()}
    assert (expected["cases"], expected["protocol"]) == (2, "masked")
    assert expected["dataset"] == aligned[0].name


@pytest.mark.parametrize("fill", ["zero", "mean"])
def test_stock_model_filled_up(fill, stock_model, workspace, evaluate, aligned, tmp_path):
    """The sweep gives what separate predictions from the files of each subset give."""
    flags = ("-tr", "nnUNetTrainer", "--fill", fill)
    folders = ("-i", aligned[0], "-l", aligned[1])
    subsets = ("--subsets", "T1c", "T1c+F", "--save_segmentations")
    assert evaluate(tmp_path / "out", *folders, *flags, *subsets) == 0
    for subset in ("T1c", "FLAIR+T1c"):
        predicted = tmp_path / subset
        model = (*workspace.of_magms, "-c", "3d_fullres", "-f", 0, "--disable_tta", *flags)
        names = ("--modalities", *subset.split("+"))
        assert workspace.magms_predict("-i", aligned[0], "-o", predicted, *model, *names) == 0
        for case in CASES:
            swept_voxels = read_voxels(tmp_path / "out/segmentations" / subset / f"{case}{ENDING}")
            np.testing.assert_array_equal(swept_voxels, read_voxels(predicted / f"{case}{ENDING}"))
        report = json.loads((predicted / "case0.json").read_text())
        assert report["settings"]["fill"] == fill


def test_stock_model_without_filling_is_scored_on_all_modalities_only(stock_model, evaluate, aligned, tmp_path):
    folders = ("-i", aligned[0], "-l", aligned[1], "-tr", "nnUNetTrainer")
    assert evaluate(tmp_path / "out", *folders) == 0
    assert {row["subset"] for row in rows(tmp_path / "out")} == {SUBSETS[-1]}


def test_systems_side_by_side(swept, stock_model, evaluate, aligned, workspace, tmp_path, capfd):
    flags = ("-i", aligned[0], "-l", aligned[1], "-tr", "nnUNetTrainer", "--fill", "zero")
    assert evaluate(tmp_path / "zero", *flags) == 0
    capfd.readouterr()
    systems = (f"MAG-MS={swept}", f"zero-filled={tmp_path / 'zero'}")
    assert workspace.magms_compare(*systems, "-o", tmp_path / "comparison") == 0
    printed = capfd.readouterr().out
    assert "MAG-MS" in printed
    assert re.search(r"\| ● +\| ○ +\| ○ +\| ○ +\|", printed)
    assert {"comparison.md", "comparison.tex"} <= files_in(tmp_path / "comparison")


def test_unknown_label_fails_by_name_and_the_others_are_scored(evaluate, aligned, tmp_path, capfd):
    import SimpleITK as sitk

    labels = shutil.copytree(aligned[1], tmp_path / "labels")
    path = labels / f"case1{ENDING}"
    image = sitk.ReadImage(path)
    sitk.WriteImage(sitk.Cast(image, sitk.sitkUInt8) * 2, path)
    assert evaluate(tmp_path / "out", "-i", aligned[0], "-l", labels, "--subsets", "T1c", "--attach") == 3
    attached, line = capfd.readouterr().err.splitlines()
    assert attached == f"{tmp_path / 'out'} is not attached to the model, as cases failed"
    assert f"case1: reference case1{ENDING} has labels [4], dataset.json knows [0, 1, 2]" in line
    assert {row["case"] for row in rows(tmp_path / "out")} == {"case0"}


@pytest.mark.parametrize("trainer", ["AnySubsetTrainer", "MAGTrainer", "HeMISTrainer", "ModalityDropoutTrainer"])
def test_every_trainer_is_trained_and_evaluated(trainer, workspace, any_subset_model, evaluate, aligned, tmp_path):
    if trainer != "AnySubsetTrainer":
        workspace.train(trainer=trainer)
    fill = ("--fill", "zero") if trainer == "ModalityDropoutTrainer" else ()
    flags = ("-i", aligned[0], "-l", aligned[1], "-tr", trainer, *fill)
    assert evaluate(tmp_path / "out", *flags) == 0
    assert {row["subset"] for row in rows(tmp_path / "out")} == set(SUBSETS)
