"""Row 23: weights and values of a checkpoint that no network can use."""

import resource
import sys

import pytest
import torch

from magms_nnunet.model.model import load_model
from tests.faults.shared_models import CHECKPOINT, home, in_checkpoint, run, spoilt  # noqa: F401 (fixtures)
from tests.faults.tiny import model  # noqa: F401 (a fixture)

WEIGHT = "decoder.seg_layers.1.weight"


def in_weight(change):
    """Change one tensor of the checkpoint."""

    def spoil(folder):
        content = torch.load(folder / CHECKPOINT, weights_only=False)
        content["network_weights"][WEIGHT] = change(content["network_weights"][WEIGHT])
        torch.save(content, folder / CHECKPOINT)

    return spoil


def with_one(number):
    def change(weight):
        weight.view(-1)[-1] = number
        return weight

    return change


@pytest.mark.fault(23)
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (with_one(float("nan")), "holds NaN or infinity: the training failed; use an earlier checkpoint"),
        (with_one(-float("inf")), "holds NaN or infinity: the training failed; use an earlier checkpoint"),
        (torch.Tensor.half, "is torch.float16, not torch.float32 as trained: use the original file"),
        (torch.Tensor.double, "is torch.float64, not torch.float32 as trained: use the original file"),
    ],
)
@pytest.mark.parametrize("command", ["predict", "export"])
def test_weights_that_the_network_cannot_use(command, change, says, run, spoilt):  # noqa: F811
    in_weight(change)(spoilt)
    assert run(command) == (2, f"magms_{command}: error: {spoilt / CHECKPOINT}: {WEIGHT} {says}")


@pytest.mark.fault(23)
def test_large_weights_are_not_taken_for_infinite_ones(run, spoilt):  # noqa: F811
    """Their sum is."""
    in_weight(lambda weight: torch.full_like(weight, 3e38))(spoilt)
    assert load_model(spoilt, [0]).weights[0][WEIGHT].max() > 1e38


@pytest.mark.fault(23)
@pytest.mark.parametrize("name", [WEIGHT, "of no layer"])
def test_weight_that_is_larger_than_the_file(name, run, spoilt):  # noqa: F811
    content = torch.load(spoilt / CHECKPOINT, weights_only=False)
    content["network_weights"][name] = torch.zeros(1).expand(10**9)
    torch.save(content, spoilt / CHECKPOINT)
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    code, line = run("predict")
    assert code == 2
    assert f"{CHECKPOINT} is damaged: it does not hold all numbers of '{name}'; copy it again" in line
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 1 << 20


@pytest.mark.fault(23)
@pytest.mark.parametrize("kind", ["sparse", "meta"])
def test_weight_that_is_no_plain_tensor(kind, run, spoilt):  # noqa: F811
    in_weight(torch.Tensor.to_sparse if kind == "sparse" else lambda weight: weight.to("meta"))(spoilt)
    code, line = run("predict")
    assert code == 2
    assert f"it does not hold all numbers of '{WEIGHT}'" in line


@pytest.mark.fault(23)
def test_value_of_very_many_levels(run, spoilt):  # noqa: F811
    levels = []
    for _ in range(5000):
        levels = [levels]
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(50_000)  # or it could not be written; hand-made, it could
    in_checkpoint(trainer_name=levels)(spoilt)
    sys.setrecursionlimit(before)
    code, line = run("predict")
    assert code == 2
    assert f"{CHECKPOINT} is not a checkpoint of nnU-Net: trainer_name is a list of very many levels" in line


@pytest.mark.fault(23)
def test_value_that_is_small_in_the_file_only(run, spoilt):  # noqa: F811
    doubled = []
    for _ in range(60):
        doubled = [doubled, doubled]
    in_checkpoint(trainer_name=doubled)(spoilt)
    code, line = run("predict")
    assert code == 2
    assert line.endswith(f"{CHECKPOINT} is damaged: written out it would be of more than 2000000 values")
