"""Flags that name what is not there, or contradict each other: said before a file is read."""

import pytest

from magms_nnunet.cli import evaluate, predict
from tests.faults.tiny import FLAIR, T1C, give
from tests.integration.workspace import ENDING


@pytest.fixture
def damaged(tmp_path):
    """A folder whose only case would fail: nobody is told so who has to change a flag first."""
    images = tmp_path / "images"
    images.mkdir()
    (images / f"p1_0000{ENDING}").write_bytes(b"damaged")
    return images


@pytest.mark.fault(1)
@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ("-f 3", "has no checkpoint_final.pth for fold 3: give -f 0"),
        ("-chk checkpoint_none.pth", "has no checkpoint_none.pth for fold 0: "),
        ("--fill zero", "MAGMSTrainer takes any subset as it is: leave out --fill"),
    ],
)
def test_fold_checkpoint_or_filling_that_the_model_lacks(flags, says, damaged, magms_predict, tmp_path):
    code, (line,) = magms_predict(damaged, tmp_path / "out", *flags.split())
    assert code == 2
    assert line.startswith("magms_predict: error: ")
    assert says in line
    assert not (tmp_path / "out").exists()


@pytest.mark.fault(1)
def test_model_that_is_named_twice(damaged, magms_predict, tmp_path):
    code, lines = magms_predict(damaged, tmp_path / "out", "-tr", "HeMISTrainer")
    assert code == 2
    assert lines[-1].endswith("or -m FOLDER, which holds all of it: leave out -tr")


@pytest.mark.fault(1)
@pytest.mark.parametrize("module", [predict, evaluate])
@pytest.mark.parametrize("flag", ["-i", "-m"])
def test_file_in_place_of_a_folder(flag, module, damaged, model, tmp_path, capsys):
    file = damaged / f"p1_0000{ENDING}"
    paths = {"-i": damaged, "-m": model, "-o": tmp_path / "out", flag: file}
    labels = ["-l", str(damaged)] if module is evaluate else []
    arguments = [str(part) for pair in paths.items() for part in pair]
    assert module.main([*arguments, "-f", "0", *labels, "--disable_progress_bar"]) == 2
    kind = {"-i": "input", "-m": "model"}[flag]
    assert f"{kind} folder {file} is a file: give the folder that holds it" in capsys.readouterr().err


@pytest.mark.fault(1)
def test_modalities_joined_by_commas(magms_predict, tmp_path):
    images = give(tmp_path / "images", {"p1": [FLAIR, T1C]})
    assert magms_predict(images, tmp_path / "out", "--modalities", "T1c,F") == (0, [])
