"""Within ``as_data`` torch reads data only, and nothing of that is left behind."""

import os

import pytest
import torch

from magms_nnunet.checkpoints import as_data, read_checkpoint
from magms_nnunet.errors import InputError

SWITCHES = ("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")


class Code:
    """Pickled, it is a call."""

    def __reduce__(self):
        return (os.getcwd, ())


@pytest.fixture
def code(tmp_path):
    torch.save({"cwd": Code()}, tmp_path / "code.pth")
    return tmp_path / "code.pth"


def test_torch_told_to_unpickle_anything_refuses(code):
    with pytest.raises(InputError, match=r"code\.pth .* it holds posix\.getcwd, .* \(the remedy\)"):  # noqa: SIM117
        with as_data(code, False, "the remedy"):
            torch.load(code, weights_only=False)


@pytest.mark.parametrize("before", [None, "0", "1"])
def test_switches_are_as_before(before, code, monkeypatch):
    for name in SWITCHES:
        monkeypatch.delenv(name, raising=False) if before is None else monkeypatch.setenv(name, before)
    with pytest.raises(InputError):
        read_checkpoint(code)
    assert [os.environ.get(name) for name in SWITCHES] == [before] * 2


def test_what_goes_wrong_with_good_data_is_not_blamed_on_the_file(code):
    with pytest.raises(RuntimeError, match="size mismatch"), as_data(code, False, ""):
        torch.nn.Linear(2, 2).load_state_dict(torch.nn.Linear(3, 3).state_dict())


def test_trust_reads_everything(code):
    assert read_checkpoint(code, trust=True) == {"cwd": os.getcwd()}
