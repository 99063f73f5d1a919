"""Within ``as_data`` torch reads data only, and nothing of that is left behind."""

import os
import re
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest
import torch

from magms_nnunet.errors import InputError
from magms_nnunet.model.checkpoints import as_data, read_checkpoint

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


@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_numbers_of_either_numpy_are_read(module, tmp_path):
    numbers = [np.float32(1.5), np.float64(-2.5), np.float16(0.5), np.int64(-3), np.uint8(200), np.bool_(True)]
    path = tmp_path / "numbers.pth"
    torch.save(numbers, path, _use_new_zipfile_serialization=False)
    path.write_bytes(re.sub(rb"numpy\._?core\.multiarray", module, path.read_bytes()))
    with as_data(path, False, ""):
        read = torch.load(path, weights_only=False)
    assert [(type(number), number) for number in read] == [(type(number), number) for number in numbers]


@pytest.mark.parametrize("dtype", ["M8[s]", "V8", "S8", "c16", "g", "O", [("a", "f8")]])
def test_dtypes_of_more_than_a_number_are_refused(dtype, tmp_path):
    torch.save({"dtype": np.dtype(dtype)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"other\.pth .* it holds numpy\.dtype"):
        read_checkpoint(tmp_path / "other.pth")


def test_what_other_packages_allow_is_refused_and_still_allowed_afterwards(tmp_path):
    torch.save({"dtype": np.dtype("O")}, tmp_path / "other.pth")
    with torch.serialization.safe_globals([np.dtype]):
        before = set(torch.serialization.get_safe_globals())
        with pytest.raises(InputError, match=r"it holds numpy\.dtype"):
            read_checkpoint(tmp_path / "other.pth")
        assert set(torch.serialization.get_safe_globals()) == before


def state() -> tuple:
    return [os.environ.get(name) for name in SWITCHES], set(torch.serialization.get_safe_globals())


@pytest.mark.parametrize("trust", [False, True])
def test_two_threads_are_never_inside_at_once(trust, tmp_path):
    """The first to come would take away what the second needs, and the last to leave would restore the first's."""
    before, second_entered, first_left = state(), Event(), Event()

    def second():
        with as_data(tmp_path / "second.pth", trust, ""):
            second_entered.set()
            assert first_left.wait(5)

    with ThreadPoolExecutor(1) as threads:
        with as_data(tmp_path / "first.pth", False, ""):
            other = threads.submit(second)
            assert not second_entered.wait(0.3)
        first_left.set()
        other.result()
    assert state() == before


def test_one_thread_may_load_while_it_loads(tmp_path):
    before = state()
    with as_data(tmp_path / "outer.pth", False, ""):
        inside = state()
        with as_data(tmp_path / "inner.pth", False, ""):
            assert state() == inside
        assert state() == inside
    assert state() == before
