import subprocess
import sys

import pytest

COMPILED = """
import sys
import torch
from magms_nnunet.inference.command import predict
from magms_nnunet.nnunet.sliding_window import OptimizedModule, SlidingWindow
from nnunetv2.inference import predict_from_raw_data

assert SlidingWindow.__base__ is predict_from_raw_data.nnUNetPredictor
assert predict_from_raw_data.OptimizedModule is OptimizedModule
assert "torch._dynamo" not in sys.modules
network = torch.nn.Linear(1, 1)
assert not isinstance(network, OptimizedModule)
compiled = torch.compile(network, backend="eager")
assert isinstance(compiled, torch._dynamo.OptimizedModule)
assert isinstance(compiled, OptimizedModule)
assert not isinstance(network, OptimizedModule)
"""

IMPORTED_BEFORE = """
import torch._dynamo
from magms_nnunet.nnunet.sliding_window import SlidingWindow
from nnunetv2.inference import predict_from_raw_data

assert predict_from_raw_data.OptimizedModule is torch._dynamo.OptimizedModule
"""


def run(code: str) -> None:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.process
def test_the_compiler_is_imported_only_to_compile_and_then_nnunet_knows_its_networks():
    run(COMPILED)


@pytest.mark.process
def test_a_compiler_that_is_there_is_used_as_it_is():
    run(IMPORTED_BEFORE)


def test_tiles_are_counted_and_a_stop_leaves_no_thread_behind():
    import threading
    from types import SimpleNamespace

    import torch
    from tqdm import TMonitor

    from magms_nnunet.nnunet.sliding_window import SlidingWindow

    class StopError(Exception):
        pass

    def stop_at_second(tile: int, tiles: int) -> None:
        seen.append((tile, tiles))
        if tile == 1:
            raise StopError

    ran, seen, before = [], [], set(threading.enumerate())
    window = SlidingWindow(use_mirroring=False, device=torch.device("cpu"), use_gaussian=False)
    window.label_manager = SimpleNamespace(num_segmentation_heads=2)
    window.network = lambda x: ran.append(1) or torch.ones(1, 2, *x.shape[2:])
    data = torch.zeros(1, 4, 4, 32)
    slicers = [(slice(None), slice(None), slice(None), slice(x, x + 4)) for x in range(0, 32, 4)]
    assert (window._internal_predict_sliding_window_return_logits(data, slicers) == 1).all()
    assert len(ran) == 8
    window.on_tile = stop_at_second
    try:
        window._internal_predict_sliding_window_return_logits(data, slicers)
    except StopError:
        pass
    else:
        raise AssertionError("it went on")
    assert seen == [(0, 8), (1, 8)]
    assert len(ran) == 9
    started = [t for t in threading.enumerate() if t not in before and not isinstance(t, TMonitor)]
    for thread in started:
        thread.join(10)
    assert not any(thread.is_alive() for thread in started)
