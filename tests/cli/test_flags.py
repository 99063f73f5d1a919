"""The flags that magms_predict and magms_evaluate share, and those that only make sense together."""

from pathlib import Path

import pytest

from magms_nnunet.cli import evaluate, flags, predict
from magms_nnunet.inference.request import ModelRequest, WindowRequest

PREDICT = (predict, ["-i", "IN", "-o", "OUT"])
EVALUATE = (evaluate, ["-o", "OUT"])
commands = pytest.mark.parametrize(("module", "needed"), [PREDICT, EVALUATE], ids=["predict", "evaluate"])
MODEL = ["-d", "210", "-c", "3d_fullres"]


def refused(module, arguments, capsys) -> str:
    """What the command says to flags that make no sense."""
    with pytest.raises(SystemExit) as caught:
        module.main(arguments)
    assert caught.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


@commands
def test_a_model_is_named_or_its_folder_is(module, needed):
    named = module.parser().parse_args([*needed, *MODEL, "-f", "all", "3"])
    flags.check(module.parser(), named)
    assert flags.model_request(named) == ModelRequest(
        None, "210", "3d_fullres", None, "MAGMSPlans", ("all", 3), "checkpoint_final.pth"
    )
    folder = module.parser().parse_args([*needed, "-m", "models/mine", "-chk", "checkpoint_best.pth"])
    flags.check(module.parser(), folder)
    request = flags.model_request(folder)
    assert (request.model, request.checkpoint) == (Path("models/mine"), "checkpoint_best.pth")


def test_only_a_sweep_can_be_fast(capsys):
    module, needed = EVALUATE
    line = refused(module, [*needed, *MODEL, "--fast", "--protocol", "absent"], capsys)
    assert line.endswith("--fast is for sweeps, --protocol masked")
    assert flags.window_request(module.parser().parse_args([*needed, *MODEL, "--fast"])).fast_sweep


def test_predictions_use_all_folds_and_evaluations_the_first():
    for (module, needed), folds in ((PREDICT, (0, 1, 2, 3, 4)), (EVALUATE, (0,))):
        assert flags.model_request(module.parser().parse_args([*needed, *MODEL])).folds == folds


@commands
def test_the_sliding_window_runs_as_it_is_told(module, needed):
    args = module.parser().parse_args([*needed, *MODEL])
    assert flags.window_request(args) == WindowRequest(None, 0.5, True, True, False, None)
    window = ["-step_size", "0.25", "--disable_tta", "-device", "cpu", "--not_on_device", "--verbose", "--fill", "mean"]
    args = module.parser().parse_args([*needed, *MODEL, *window])
    assert flags.window_request(args) == WindowRequest("cpu", 0.25, False, False, True, "mean")


@commands
@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "either -d DATASET -c CONFIGURATION or -m FOLDER"),
        (["-d", "210"], "either -d DATASET -c CONFIGURATION or -m FOLDER"),
        ([*MODEL, "-m", "models/mine"], "either -d DATASET -c CONFIGURATION or -m FOLDER"),
        (["-d", "210", "-m", "models/mine"], "-m FOLDER, which holds all of it: leave out -d"),
        (["-tr", "HeMISTrainer", "-m", "models/mine"], "-m FOLDER, which holds all of it: leave out -tr"),
        (["-p", "P", "-c", "2d", "-m", "models/mine"], "-m FOLDER, which holds all of it: leave out -c -p"),
        ([*MODEL, "-num_parts", "0"], "-num_parts must be 1 or more, got 0"),
        ([*MODEL, "-num_parts", "3", "-part_id", "3"], "-part_id must be from 0 to num_parts - 1 = 2, got 3"),
        ([*MODEL, "-part_id", "-1"], "-part_id must be from 0 to num_parts - 1 = 0, got -1"),
        ([*MODEL, "-step_size", "0"], "-step_size must be above 0 and at most 1, got 0.0"),
        ([*MODEL, "-step_size", "nan"], "-step_size must be above 0 and at most 1, got nan"),
        ([*MODEL, "-npp", "-1"], "-npp and -nps must be 0 or more"),
        ([*MODEL, "-f", "0", "-1"], "-f takes numbers or 'all', got '-1'"),
        ([*MODEL, "-f", "one"], "-f takes numbers or 'all', got 'one'"),
        ([*MODEL, "--fill", "median"], "'median'"),
        ([*MODEL, "-device", "tpu"], "'tpu'"),
    ],
)
def test_values_that_make_no_sense(module, needed, arguments, problem, capsys):
    assert problem in refused(module, [*needed, *arguments], capsys)


@pytest.mark.parametrize("alone", ["-i", "-l"])
def test_images_and_labels_go_together(alone, capsys):
    assert "-i and -l go together" in refused(evaluate, ["-o", "OUT", *MODEL, alone, "FOLDER"], capsys)


def test_merging_needs_a_model_only_to_attach_to(tmp_path, capsys):
    merge = ["-o", str(tmp_path / "out"), "--merge", str(tmp_path / "part0")]
    assert evaluate.main(merge) == 2
    assert "part0 is no evaluation: it has no run.json" in capsys.readouterr().err
    assert "say which model" in refused(evaluate, [*merge, "--attach"], capsys)


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("7", 7), ("", 3), ("many", 3)])
def test_numbers_of_processes_are_nnunets_variables(text, number, monkeypatch):
    monkeypatch.setenv("nnUNet_npp", text)
    monkeypatch.delenv("nnUNet_nps", raising=False)
    args = predict.parser().parse_args([*PREDICT[1], *MODEL])
    assert (args.npp, args.nps) == (number, 3)
