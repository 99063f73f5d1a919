import subprocess
import sys

COMPILED = """
import sys
import torch
from magms_nnunet.inference.command import predict
from magms_nnunet.nnunet.sliding_window import OptimizedModule, SlidingWindow
from nnunetv2.inference import predict_from_raw_data

assert SlidingWindow is predict_from_raw_data.nnUNetPredictor
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


def test_the_compiler_is_imported_only_to_compile_and_then_nnunet_knows_its_networks():
    run(COMPILED)


def test_a_compiler_that_is_there_is_used_as_it_is():
    run(IMPORTED_BEFORE)
