"""Row 19: a checkpoint that runs code when it is unpickled, given to everything that loads checkpoints."""

import shutil
from contextlib import suppress

import numpy as np
import pytest
import torch

from magms_nnunet.errors import InputError
from tests.faults.shared_models import CHECKPOINT, canary, home, pack, run, spoilt, train  # noqa: F401 (fixtures)
from tests.faults.tiny import model  # noqa: F401 (a fixture)

SAYS = "holds posix.system, and only data is loaded from checkpoints"


@pytest.mark.fault(19)
def test_the_canary_works(spoilt, canary):  # noqa: F811
    torch.load(spoilt / CHECKPOINT, weights_only=False)
    assert canary.exists()


@pytest.mark.fault(19)
@pytest.mark.parametrize("command", ["predict", "evaluate", "export", "import_model"])
def test_malicious_checkpoint_is_refused_by(command, run, spoilt, canary, home, tmp_path):  # noqa: F811
    if command == "import_model":
        pack(spoilt, tmp_path / "model.zip")
        shutil.rmtree(spoilt)
    code, line = run(command)
    assert code == 2
    assert SAYS in line
    assert "checkpoint_final.pth" in line
    assert "--trust-checkpoint if you trust who made it" in line
    assert not canary.exists()
    assert command != "import_model" or not spoilt.exists()
    assert command != "export" or not (tmp_path / "out").exists()


@pytest.mark.fault(19)
@pytest.mark.parametrize("command", ["predict", "evaluate", "export", "import_model"])
def test_trust_is_a_flag_of(command, run, spoilt, canary, tmp_path):  # noqa: F811
    if command == "import_model":
        pack(spoilt, tmp_path / "model.zip")
    assert run(command, "--trust-checkpoint", *(["--overwrite"] if command == "import_model" else []))[0] == 0
    assert canary.exists()


@pytest.mark.fault(19)
@pytest.mark.parametrize("flags", [("--c",), ("--val",), ("-pretrained_weights",)])
def test_malicious_checkpoint_is_refused_in_training(flags, train, spoilt, canary, monkeypatch):  # noqa: F811
    flags = (*flags, spoilt / CHECKPOINT) if flags == ("-pretrained_weights",) else flags
    with pytest.raises(InputError, match=f"{SAYS} .MAGMS_TRUST_CHECKPOINT=1 if you trust who made it"):
        train(*flags)
    assert not canary.exists()


@pytest.mark.fault(19)
@pytest.mark.parametrize("flags", [("--c",), ("-pretrained_weights",)])
def test_trust_is_a_variable_in_training(flags, train, spoilt, canary, monkeypatch):  # noqa: F811
    monkeypatch.setenv("MAGMS_TRUST_CHECKPOINT", "1")
    flags = (*flags, spoilt / CHECKPOINT) if flags == ("-pretrained_weights",) else flags
    with suppress(Exception):  # there is no data to train on
        train(*flags)
    assert canary.exists()


@pytest.mark.fault(19)
@pytest.mark.parametrize("flag", ["--c", "--val"])
@pytest.mark.parametrize(
    "kept", [{"output_folder": "elsewhere"}, {"save_every": "text"}, {"num_epochs": 0}, {"num_epochs": True}, ["text"]]
)
def test_checkpoint_sets_nothing_but_the_length_of_a_run(flag, kept, train, spoilt):  # noqa: F811
    """Where a trainer writes and what it logs would be enough to run code later."""
    content = torch.load(spoilt / CHECKPOINT, weights_only=False)
    content["init_args"]["magms"]["run_length"] = kept
    torch.save(content, spoilt / CHECKPOINT)
    with pytest.raises(InputError, match=r"is damaged: .* is no length of a run"):
        train(flag)


class Call:
    """Pickled, it is the result of a function."""

    def __init__(self, *reduced):
        self.reduced = reduced

    def __reduce__(self):
        return self.reduced


def followed() -> Call:
    """Pickled, a number of numpy's whose eight bytes are taken for the address of an object."""
    any_object = Call(np.dtype, ("O",))
    with_a_field = Call(np.dtype, ("f8", False, True), (3, "<", None, ("a",), {"a": (any_object, 0)}, 8, 8, 0))
    overlaid = Call(np.dtype, (("V8", with_a_field),))
    return Call(np.float64(0).__reduce__()[0], (overlaid, b"A" * 8))


@pytest.fixture
def followed_bytes(spoilt):  # noqa: F811
    """In the copied model's checkpoint, where whoever looks at it dies of a segmentation fault."""
    content = torch.load(spoilt / CHECKPOINT, weights_only=False)
    content["init_args"]["dataset_json"]["labels"] = followed()
    torch.save(content, spoilt / CHECKPOINT)


@pytest.mark.fault(19)
@pytest.mark.parametrize("command", ["predict", "evaluate", "export", "import_model"])
def test_bytes_that_numpy_would_follow_are_refused_by(command, run, spoilt, followed_bytes, tmp_path):  # noqa: F811
    if command == "import_model":
        pack(spoilt, tmp_path / "model.zip")
        shutil.rmtree(spoilt)
    code, line = run(command)
    assert code == 2
    assert "checkpoint_final.pth is damaged or not a checkpoint of nnU-Net; it holds numpy.dtype, and only" in line


@pytest.mark.fault(19)
@pytest.mark.parametrize("flags", [("--c",), ("--val",), ("-pretrained_weights",)])
def test_bytes_that_numpy_would_follow_are_refused_in_training(flags, train, spoilt, followed_bytes):  # noqa: F811
    flags = (*flags, spoilt / CHECKPOINT) if flags == ("-pretrained_weights",) else flags
    with pytest.raises(InputError, match=r"it holds numpy\.dtype, and only data is loaded from checkpoints"):
        train(*flags)


@pytest.mark.fault(19)
def test_torchs_switch_to_trust_everything_changes_nothing(run, canary, monkeypatch):  # noqa: F811
    """Some set it to make other software work."""
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    code, line = run("predict")
    assert code == 2
    assert SAYS in line
    assert not canary.exists()
