from argparse import Namespace

import harness
import pytest
import torch

from magms_nnunet.cpu.convolution import Conv3d


def test_ratios_are_taken_within_each_block():
    stock, ours = harness.compare(
        "step", "s", {"nnU-Net": [1.0, 2.0], "ours": [2.0, 6.0]}, {"nnU-Net": 10, "ours": 30}, {"ours": 2.4}
    )
    assert stock.ratio == stock.operations_ratio == 1
    assert ours.ratios == [2, 3]
    assert ours.ratio == 2.5
    assert ours.operations_ratio == 3


def test_the_table_says_which_targets_are_missed():
    values = {"nnU-Net": [1.0, 2.0], "ours": [2.0, 6.0]}
    operations = {"nnU-Net": 10, "ours": 30}
    *_, stock, missed = harness.table(harness.compare("step", "s", values, operations, {"ours": 2.4})).splitlines()
    assert stock == "| step, nnU-Net | 1.5000 (1.0000 - 2.0000) s | 1.00 | 1.00 |  |"
    assert missed == "| step, ours | 4.0000 (2.0000 - 6.0000) s | 2.50 (2.00 - 3.00) | 3.00 | <= 2.4, missed |"
    *_, met = harness.table(harness.compare("peak", "MiB", {"nnU-Net": [2.0], "ours": [5.0]}, None, {"ours": 2.5}))[
        :-1
    ].splitlines()
    assert met == "| peak, ours | 5.0 MiB | 2.50 |  | <= 2.5 "


def test_operations_of_a_convolution_are_two_per_weight_and_voxel_and_pass():
    convolution = torch.nn.Conv3d(4, 8, 1, bias=False)
    x = torch.randn(1, 4, 2, 2, 2, requires_grad=True)
    calls = {"forward": lambda: convolution(x), "step": lambda: convolution(x).sum().backward()}
    once = 2 * 4 * 8 * 2**3
    assert harness.count_operations(calls) == {"forward": once, "step": 3 * once}  # gradients of input and weight


def test_operations_do_not_depend_on_the_kernel():
    stock, ours = torch.nn.Conv3d(1, 8, 3, padding=1), Conv3d(1, 8, 3, padding=1)
    x = torch.randn(1, 1, 16, 16, 16)
    with torch.inference_mode():
        counted = harness.count_operations({"stock": lambda: stock(x), "ours": lambda: ours(x)})
    assert counted == {"stock": 2 * 8 * 27 * 16**3, "ours": 2 * 8 * 27 * 16**3}


def test_calls_take_turns_and_the_first_block_does_not_count():
    order = []
    calls = {name: lambda name=name: order.append(name) for name in "ab"}
    seconds = harness.measure(calls, Namespace(blocks=2, repeats=2, device=torch.device("cpu")))
    assert "".join(order) == "aabb" * 3
    assert {name: len(values) for name, values in seconds.items()} == {"a": 2, "b": 2}


@pytest.mark.skipif(torch.cuda.is_available(), reason="tests a machine without a GPU; this one has one")
@pytest.mark.parametrize(("flag", "value"), [("--device", "cuda"), ("--compile", "both")])
def test_what_needs_a_gpu_is_refused_without_one(flag, value, capsys):
    with pytest.raises(SystemExit) as refused:
        harness.parse([flag, value], "A benchmark.")
    assert refused.value.code == 2
    assert f"{flag} {value}: " in capsys.readouterr().err


def test_sizes_follow_the_device():
    assert harness.parse(["--device", "cpu"], "A benchmark.").patch == 48
    assert harness.parse(["--device", "cpu"], "A benchmark.", cpu_patch=32).patch == 32
    assert harness.parse(["--device", "cpu", "--patch", "64"], "A benchmark.").patch == 64
