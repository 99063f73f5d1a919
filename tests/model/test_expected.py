import json
from types import SimpleNamespace

import pytest

from magms_nnunet.errors import InputError
from magms_nnunet.modalities import Modalities
from magms_nnunet.model.expected import FILE, attach, attached_dice

KNOWN = {
    "sha256": "abc",
    "fill": None,
    "protocol": "masked",
    "dataset": "Dataset210_BraTS",
    "cases": 20,
    "subsets": {
        "FLAIR": {"mean": 0.7, "regions": {"whole": 0.8, "core": 0.6}},
        "FLAIR+T1c": {"mean": 0.9, "regions": {"whole": 0.9, "core": 0.9}},
    },
}


@pytest.fixture
def model(tmp_path):
    """As much of a model as is asked for."""
    return SimpleNamespace(folder=tmp_path, fingerprint="abc", modalities=Modalities(("FLAIR", "T1", "T1c")))


def test_what_is_attached_is_found_again(model):
    assert attach(model.folder, KNOWN) == model.folder / FILE
    assert attached_dice(model, (0, 2), None) == {
        "mean": 0.9,
        "regions": {"whole": 0.9, "core": 0.9},
        "cases": 20,
        "dataset": "Dataset210_BraTS",
        "protocol": "masked",
    }
    assert attached_dice(model, (0,), None)["mean"] == 0.7


def test_another_evaluation_replaces_it(model):
    attach(model.folder, KNOWN)
    attach(model.folder, KNOWN | {"cases": 40})
    assert attached_dice(model, (0,), None)["cases"] == 40
    assert [path.name for path in model.folder.iterdir()] == [FILE]


def test_nothing_is_known_before_an_evaluation(model):
    assert attached_dice(model, (0,), None) is None


@pytest.mark.parametrize(
    ("fingerprint", "subset", "fill"),
    [("abc", (1,), None), ("other weights", (0,), None), ("abc", (0,), "zero")],
    ids=["subset", "folds", "fill"],
)
def test_nothing_is_said_of_what_was_not_evaluated(model, fingerprint, subset, fill):
    attach(model.folder, KNOWN)
    model.fingerprint = fingerprint
    assert attached_dice(model, subset, fill) is None


def test_a_filling_has_an_evaluation_of_its_own(model):
    attach(model.folder, KNOWN | {"fill": "mean"})
    assert attached_dice(model, (0,), "mean")["mean"] == 0.7
    assert attached_dice(model, (0,), "zero") is None
    assert attached_dice(model, (0,), None) is None


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", json.dumps(KNOWN | {"subsets": []}), json.dumps(KNOWN | {"subsets": {"FLAIR": 0.7}})]
)
def test_a_damaged_file_is_named(model, content):
    (model.folder / FILE).write_text(content)
    with pytest.raises(InputError, match=FILE) as caught:
        attached_dice(model, (0,), None)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("missing", ["sha256", "fill", "cases", "dataset", "protocol"])
def test_a_file_that_lacks_something_is_damaged(model, missing):
    (model.folder / FILE).write_text(json.dumps({key: KNOWN[key] for key in KNOWN if key != missing}))
    with pytest.raises(InputError, match=f"{FILE} is damaged: remove it"):
        attached_dice(model, (0,), None)


def test_a_folder_that_cannot_be_written_to(tmp_path):
    file = tmp_path / "model"
    file.touch()
    with pytest.raises(InputError, match=rf"cannot write .*{FILE} \(Not a directory\): --attach"):
        attach(file, KNOWN)
