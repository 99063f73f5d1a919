"""What a case failed of: its input, the machine, or us."""

import errno

import pytest
import torch

from magms_nnunet.cli import exits
from magms_nnunet.errors import CaseError, FaultMessage, InputError
from magms_nnunet.inference.failures import Failures, failure_message
from magms_nnunet.inference.processes import ProcessDiedError, workers


def raised_here():
    return {}["no such key"]


def fault(processes: int = 0) -> FaultMessage:
    failures = Failures(progress_bar=False)
    with workers(processes) as executor:
        failures.watch("case1", executor.submit(raised_here))
    return failures.messages["case1"]


@pytest.mark.parametrize("processes", [0, 1])
def test_a_fault_of_ours_says_what_and_where_also_in_a_process(processes):
    message = fault(processes)
    assert message == "unexpected KeyError: 'no such key' (--debug shows where)"
    assert isinstance(message, FaultMessage)
    assert "in raised_here" in message.traceback
    assert 'return {}["no such key"]' in message.traceback


@pytest.mark.parametrize(
    "error",
    [
        CaseError("case1", "T1 is missing"),
        InputError("no space left"),
        ProcessDiedError(-9),
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail] can't allocate memory: you tried to allocate 9 bytes"),
        OSError(errno.EACCES, "Permission denied"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_the_input_and_the_machine_are_no_fault_of_ours(error):
    assert not isinstance(failure_message(error), FaultMessage)


def test_what_is_added_to_a_message_changes_nothing_else():
    try:
        raised_here()
    except KeyError as error:
        message = failure_message(error, "; an old result stays")
    assert isinstance(message, FaultMessage)
    assert "; an old result stays" in message


@pytest.mark.parametrize("debug", [False, True])
def test_a_fault_of_ours_ends_a_command_with_1_and_debug_shows_where(debug, capfd):
    assert exits.failures("magms_predict", {"case0": "T1 is missing", "case1": fault()}, debug) == 1
    said = capfd.readouterr().err
    assert "magms_predict: case1: unexpected KeyError: 'no such key' (--debug shows where)\n" in said
    assert ("in raised_here" in said) == debug


def test_other_failures_end_a_command_with_3(capfd):
    assert exits.failures("magms_predict", {"case0": "T1 is missing"}, True) == 3
    assert exits.failures("magms_predict", {}, True) == 0
    assert capfd.readouterr().err == "magms_predict: case0: T1 is missing\n"
