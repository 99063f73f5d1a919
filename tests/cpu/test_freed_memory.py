import subprocess
import sys

import pytest

CODE = """
import resource, sys
import numpy as np
from magms_nnunet.cpu.freed_memory import retain_freed_memory

if sys.argv[1] == "kept":
    retain_freed_memory()
np.ones(1 << 23)  # 64 MiB
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    np.ones(1 << 23)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="tests settings of glibc, the C library of Linux")
def test_large_arrays_take_new_pages_once_only():
    faults = {
        how: int(subprocess.check_output([sys.executable, "-c", CODE, how], text=True)) for how in ("as it is", "kept")
    }
    if faults["as it is"] < 500:
        pytest.skip("this C library keeps freed memory by itself")
    assert faults["kept"] < faults["as it is"] / 10
