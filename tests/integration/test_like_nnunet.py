"""Where nnU-Net can do it as well, the result is nnU-Net's: complete cases, folds, parts, continued predictions."""

from multiprocessing.pool import ThreadPool

import numpy as np
import pytest

from magms_nnunet import Predictor
from magms_nnunet.inference.export import Export
from magms_nnunet.inference.folder import predict_folder
from magms_nnunet.storage.output_lock import locked_output
from tests.integration.workspace import ENDING, files_in, read_probabilities, read_voxels

CASES = ("case5", "case6", "case7")


@pytest.fixture(scope="module")
def two_folds(workspace):
    workspace.train("3d_fullres", 1)
    return workspace


@pytest.mark.parametrize("trainer", ["MAGMSTrainer", "AnySubsetTrainer"])
@pytest.mark.parametrize(("planner", "plans"), [("MAGMSPlanner", "MAGMSPlans"), ("ExperimentPlanner", "nnUNetPlans")])
def test_complete_cases_are_predicted_as_nnunetv2_predict_does(
    planner, plans, trainer, workspace, any_subset_model, predict, tmp_path
):
    if planner == "ExperimentPlanner":  # stock plans and preprocessing, our trainer
        workspace.plan("3d_fullres", planner=planner)
        workspace.train(trainer=trainer, plans=plans)
    flags = ("-p", plans, "-tr", trainer, "--save_probabilities")
    assert predict(workspace.test, tmp_path / "ours", *flags) == 0
    model = ("-d", workspace.id, "-c", "3d_fullres", "-f", 0)
    workspace.nnunet_predict("-i", workspace.test, "-o", tmp_path / "nnunet", *model, *flags)
    assert files_in(tmp_path / "nnunet") - {"predict_from_raw_data_args.json"} < files_in(tmp_path / "ours")
    for case in CASES:
        ours, nnunet = (read_voxels(tmp_path / folder / f"{case}{ENDING}") for folder in ("ours", "nnunet"))
        assert (ours == nnunet).all()
        ours, nnunet = (read_probabilities(tmp_path / folder / f"{case}.npz") for folder in ("ours", "nnunet"))
        # nnU-Net's export uses eight threads and ours one, and where a thread's share ends a softmax rounds otherwise.
        np.testing.assert_allclose(ours, nnunet, rtol=0, atol=1e-6)
        assert np.ptp(ours[0]) > 1e-2  # the images matter


def test_logits_of_the_folds_are_averaged(two_folds, predict, tmp_path):
    for name, folds in {"0": [0], "1": [1], "both": [0, 1]}.items():
        flags = ("--save_probabilities", "--modalities", "T1c", "-f", *folds)
        assert predict(two_folds.test, tmp_path / name, *flags) == 0
    for case in CASES:
        first, second, both = (read_probabilities(tmp_path / name / f"{case}.npz") for name in ("0", "1", "both"))
        # The softmax of the mean of two logits is the normalised geometric mean of their softmaxes.
        expected = np.sqrt(first * second)
        np.testing.assert_allclose(both, expected / expected.sum(0), atol=1e-3)  # nnU-Net adds up in half precision
        assert min(np.abs(both - first).max(), np.abs(both - second).max()) > 1e-2


def test_parts_partition_the_cases(workspace, predict, tmp_path):
    parts = []
    for part in range(2):
        assert predict(workspace.test, tmp_path / str(part), "-num_parts", 2, "-part_id", part) == 0
        parts.append({name for name in files_in(tmp_path / str(part)) if name.endswith(ENDING)})
    assert parts == [{f"case5{ENDING}", f"case7{ENDING}"}, {f"case6{ENDING}"}]


def test_parts_that_run_at_the_same_time_share_the_output_folder(workspace, tmp_path):
    """All of them write dataset.json and plans.json."""
    predictor = Predictor(workspace.model(), folds=(0,), device="cpu")

    def run_part(part):
        with locked_output(tmp_path, part, 100) as unfinished:
            export = Export(tmp_path, unfinished)
            return predict_folder(predictor, [], export, preprocessing_processes=0, export_processes=0)

    with ThreadPool(8) as pool:
        assert pool.map(run_part, range(100)) == [{}] * 100
    assert files_in(tmp_path) == {"dataset.json", "plans.json"}


def test_continued_prediction_redoes_only_what_is_gone(workspace, predict, tmp_path):
    out, flags = tmp_path / "out", ("--modalities", "T1c")
    assert predict(workspace.test, out, *flags) == 0
    results = [out / f"{case}{ENDING}" for case in CASES]
    before = [(path.stat().st_mtime_ns, path.read_bytes()) for path in results]
    results[1].unlink()
    assert predict(workspace.test, out, "--continue_prediction", *flags) == 0
    after = [(path.stat().st_mtime_ns, path.read_bytes()) for path in results]
    assert after[0] == before[0]
    assert after[2] == before[2]
    assert after[1][0] > before[1][0]
    assert after[1][1] == before[1][1]


@pytest.mark.parametrize(
    "now", ["--modalities F", "--modalities T1c F", "", "--modalities T1c -f 0 1", "--modalities T1c -step_size 1"]
)
def test_continued_prediction_refuses_results_of_another_subset_or_model(now, two_folds, predict, tmp_path, capfd):
    out = tmp_path / "out"
    assert predict(two_folds.test, out, "--modalities", "T1c") == 0
    before = {path: path.read_bytes() for path in out.iterdir()}
    capfd.readouterr()
    assert predict(two_folds.test, out, "--c", *now.split()) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "case5" in line
    assert "another model, from other modalities or with other settings" in line
    assert {path: path.read_bytes() for path in out.iterdir()} == before
