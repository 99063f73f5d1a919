"""torch, and the GPU if there is one."""

import os
import shutil
from pathlib import Path

from magms_nnunet.environment.finding import FAIL, OK, WARN, Finding, one_line

COMPILE = "nnUNet_compile"  # nnU-Net's variable
DRIVER = Path("/dev/nvidiactl")  # is there where NVIDIA's driver is loaded


def check_accelerator() -> list[Finding]:
    """torch's version, and for every GPU its name, its memory and whether a convolution runs on it."""
    try:
        import torch
    except Exception as error:  # a broken installation raises OSError, too
        return [Finding(FAIL, "torch", one_line(error), "install torch 2.6 or newer, the build for your GPU")]
    build = f"{torch.__version__}, {torch.get_num_threads()} threads"
    if torch.cuda.is_available():
        gpus = [_check_gpu(torch, number) for number in range(torch.cuda.device_count())]
        return [Finding(OK, "torch", build), *gpus, _check_compiler()]
    if torch.backends.mps.is_available():
        return [Finding(OK, "torch", build), Finding(OK, "GPU", "Apple's, by -device mps")]
    if DRIVER.exists():
        reason = (
            "is a build without CUDA" if torch.version.cuda is None else f"for CUDA {torch.version.cuda} finds no GPU"
        )
        remedy = "install the build of torch for your driver, and look at nvidia-smi and CUDA_VISIBLE_DEVICES"
        return [Finding(WARN, "torch", f"{build}: an NVIDIA driver is loaded, but torch {reason}", remedy)]
    message = "none: prediction works on the CPU, training on real data would take weeks"
    return [Finding(OK, "torch", build), Finding(WARN, "GPU", message, "train on a machine with a GPU")]


def _check_gpu(torch, number: int) -> Finding:
    subject = f"GPU {number}"
    try:
        properties = torch.cuda.get_device_properties(number)
        free, total = torch.cuda.mem_get_info(number)
        found = f"{properties.name}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free"
        image = torch.randn(1, 4, 32, 32, 32, device=f"cuda:{number}")
        with torch.autocast("cuda"):
            result = torch.nn.Conv3d(4, 8, 3).to(image.device)(image).float().sum()
        result.backward()
        if not torch.isfinite(result):
            return Finding(FAIL, subject, f"{found}; a convolution gave {result}", "have the GPU checked")
        return Finding(OK, subject, f"{found}, a convolution runs")
    except Exception as error:
        remedy = "free its memory, or install the build of torch for this GPU and its driver"
        return Finding(FAIL, subject, one_line(error), remedy)


def _check_compiler() -> Finding:
    """nnU-Net compiles its networks on a GPU, and that calls a C compiler."""
    subject = "torch.compile"
    if os.environ.get(COMPILE, "true").lower() not in ("true", "1", "t"):
        return Finding(OK, subject, f"switched off by {COMPILE}")
    if not any(map(shutil.which, filter(None, (os.environ.get("CC"), "cc", "gcc", "clang")))):
        return Finding(WARN, subject, "needs a C compiler, and there is none", f"install gcc, or export {COMPILE}=f")
    return Finding(OK, subject, "a C compiler is there")
