"""Memory that runs out."""

import sys

import numpy as np
import pytest
import torch

from magms_nnunet.inference.predictor import Predictor
from magms_nnunet.networks.subset_network import SubsetNetwork
from tests.faults.commands import start
from tests.faults.tiny import SIDE_FILES, T1C, give, voxels
from tests.integration.workspace import ENDING, files_in, write_image

LIMIT_BYTES = 6 << 30  # of addresses: torch alone takes 3 to 4 GiB of them


@pytest.fixture
def runs_out(monkeypatch):
    """runs_out(times): the network's forward raises what torch raises when the memory of a GPU is full."""
    forward, calls = SubsetNetwork.forward, []

    def runs_out(times: int) -> None:
        def full(self, *arguments):
            calls.append(1)
            if len(calls) <= times:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has a total of")
            return forward(self, *arguments)

        monkeypatch.setattr(SubsetNetwork, "forward", full)

    return runs_out


@pytest.mark.fault(17)
def test_gpu_out_of_memory_collects_results_on_the_cpu_and_says_so(runs_out, model, capfd):
    """Simulated, as if the CPU were a GPU: nnU-Net's own way out, which also serves a sweep."""
    predictor, data = Predictor(model, device="cpu", mirroring=False), torch.from_numpy(voxels(0))[None]
    expected = predictor.predict_logits(data, (T1C,))
    predictor._sliding_window.perform_everything_on_device = True
    runs_out(times=1)
    capfd.readouterr()
    assert torch.equal(predictor.predict_logits(data, (T1C,)), expected)
    assert "probably due to a lack of memory. Moving results arrays to CPU" in capfd.readouterr().out


@pytest.mark.fault(17)
def test_gpu_out_of_memory_again_fails_the_case_in_one_line(runs_out, magms_predict, tmp_path):
    """Simulated: raised where the network runs."""
    images = give(tmp_path / "images", {"a": [T1C], "b": [T1C]})
    runs_out(times=1)
    code, lines = magms_predict(images, tmp_path / "out")
    assert code == 3
    assert lines[-1] == (
        "magms_predict: a: not enough memory (OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.): "
        "try --not_on_device, -device cpu, or smaller -npp and -nps"
    )
    assert files_in(tmp_path / "out") == SIDE_FILES | {f"b{ENDING}", "b.json"}


@pytest.mark.fault(17)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux keeps a process to RLIMIT_AS")
@pytest.mark.slow
@pytest.mark.parametrize("processes", [0, 1])
def test_host_out_of_memory_fails_the_case_in_one_line(processes, model, tmp_path):
    """Not simulated: the large case needs more than the process, or its worker, is given."""
    images, out = give(tmp_path / "images", dict.fromkeys("ac", (T1C,))), tmp_path / "out"
    block = np.random.default_rng(0).normal(100, 20, (64, 64, 64)).astype(np.float32)
    write_image(images / f"b_0002{ENDING}", np.tile(block, (9, 9, 9)))
    flags = ("-m", model, "-f", 0, "-device", "cpu", "-npp", processes, "-nps", processes, "--disable_progress_bar")
    with start("magms_predict", "-i", images, "-o", out, *flags, memory_bytes=LIMIT_BYTES) as command:
        said = command.stderr.read().splitlines()
    assert command.returncode == 3, said
    assert said[-1].startswith("magms_predict: b: not enough memory (")
    assert files_in(out) == SIDE_FILES | {f"{case}{end}" for case in "ac" for end in (ENDING, ".json")}
