import harness
import memory
import pytest
import torch

from tests.benchmarks.conftest import rows_of


def test_peak_of_a_step_worked_out_by_hand():
    n = 2**20
    x = torch.zeros(n, requires_grad=True)

    def step():
        x.exp().exp().sum().backward()

    # both results of exp are kept for the backward pass, whose first product is the third array; the sum, its gradient
    assert memory.peak_above_what_lives(step, torch.device("cpu")) == 3 * 4 * n + 2 * 4


@pytest.mark.parametrize("known_to_the_profiler", [False, True])
def test_what_stood_before_and_is_freed_makes_no_room(known_to_the_profiler):
    held = []

    def hold(numbers):
        held.clear()
        held.append(torch.zeros(numbers))

    def peak(numbers):
        return memory.peak_above_what_lives(lambda: hold(numbers), torch.device("cpu"))

    peak(2**20) if known_to_the_profiler else hold(2**20)
    assert peak(2**18) == 4 * 2**18


def test_size_counts_tensors_in_any_container():
    tree = {"a": [torch.zeros(3), None], "b": {"c": torch.zeros(2, dtype=torch.float64)}, "d": 7}
    assert memory.size(tree) == 3 * 4 + 2 * 8


def test_size_counts_an_encoder_once_that_the_decoder_holds_as_well():
    encoder = torch.nn.Linear(3, 2)
    network = torch.nn.ModuleDict({"encoder": encoder, "decoder": torch.nn.Sequential(encoder, torch.nn.Linear(2, 1))})
    assert len(network.state_dict()) == 6
    assert memory.size(network.state_dict()) == 4 * (3 * 2 + 2 + 2 + 1)


def test_activations_grow_with_the_batch_and_weights_do_not(run):
    small, large = (run("memory", "--batch", batch) for batch in ("2", "4"))
    systems = [harness.STOCK, *harness.VARIANTS]
    assert list(rows_of(small, "training step")) == list(rows_of(small, memory.PEAK)) == systems
    for system in systems:

        def value(result, what, system=system):
            return rows_of(result, what)[system]["values"][0]

        constant, activations = "of it weights, momentum, gradients", "of it activations and workspaces"
        assert value(small, constant) == value(large, constant)
        assert value(large, activations) == pytest.approx(2 * value(small, activations), rel=0.1)
        assert value(large, memory.PEAK) == pytest.approx(value(large, constant) + value(large, activations))
    peaks = rows_of(small, memory.PEAK)
    assert peaks[harness.ANY_SUBSET]["ratio"] < peaks[harness.LEAN]["ratio"]
    assert peaks[harness.LEAN]["ratio"] < peaks[harness.EXACT]["ratio"]
