"""The checks that import torch and nnU-Net; they run in a process of their own, because it may crash or hang.

``python -m magms_nnunet.environment.with_torch HOME`` prints a finding per line, as JSON.
"""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import asdict
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from magms_nnunet.environment.finding import FAIL, OK, WARN, Finding, one_line

COMPILE = "nnUNet_compile"  # nnU-Net's variable
DRIVER = Path("/dev/nvidiactl")  # exists where NVIDIA's driver is loaded
LAST_TRAINER = "nnUNetTrainer_5epochs"  # of nnU-Net's own; its search opens nearly all others before it
_REMEDY = "install the two together, from the same index: pip install --force-reinstall torch torchvision"


def checks(home: Path) -> Iterator[Finding]:
    """Yield the findings in order; checks that depend on a failed one are left out."""
    accelerator = check_accelerator()
    yield from accelerator
    if any(finding.status == FAIL and finding.subject == "torch" for finding in accelerator):
        return
    look_up = check_look_up()
    yield from look_up
    if any(finding.status == FAIL and finding.subject == "nnU-Net" for finding in look_up):
        return
    import torch

    from magms_nnunet.environment.tiny_model import self_test

    torch.set_num_threads(1)  # more threads would wait for each other on a network this small
    yield self_test(home, "cuda" if torch.cuda.is_available() else "cpu")


def main() -> None:
    """Entry point."""
    home, out = Path(sys.argv[1]), os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # also the output of libraries in C
    os.environ[COMPILE] = "f"  # takes a minute
    with redirect_stdout(sys.stderr):  # nnU-Net prints
        for finding in checks(home):
            print(json.dumps(asdict(finding)), file=out, flush=True)


def check_accelerator() -> list[Finding]:
    """Check torch, and for every GPU its name, its memory and a convolution."""
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
    """Check that there is a C compiler, with which nnU-Net compiles its networks on a GPU."""
    subject = "torch.compile"
    if os.environ.get(COMPILE, "true").lower() not in ("true", "1", "t"):
        return Finding(OK, subject, f"switched off by {COMPILE}")
    if not any(map(shutil.which, filter(None, (os.environ.get("CC"), "cc", "gcc", "clang")))):
        return Finding(WARN, subject, "needs a C compiler, and there is none", f"install gcc, or export {COMPILE}=f")
    return Finding(OK, subject, "a C compiler is there")


def check_look_up() -> list[Finding]:
    """Check that nnU-Net finds each of our classes by its name, with the .pth file alone."""
    try:
        import nnunetv2
        from nnunetv2.utilities.find_class_by_name import recursive_find_python_class
        from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
    except Exception as error:
        remedy = "install nnunetv2 again, in an environment of its own"
        return [Finding(FAIL, "nnU-Net", f"cannot be imported: {one_line(error)}", remedy)]
    # Imported after nnU-Net, because the import registers the hook where no .pth file has done so.
    from magms_nnunet.autoload import NORMALIZATIONS, PLANNERS, TRAINERS

    def find_in(folder: str):
        path = Path(nnunetv2.__path__[0]).joinpath(*folder.split("."))
        return lambda name: recursive_find_python_class(str(path), name, f"nnunetv2.{folder}")

    return [
        _check("trainers", TRAINERS, recursive_find_trainer_class_by_name),
        _check("planners", PLANNERS, find_in("experiment_planning")),
        _check("normalisations", NORMALIZATIONS, find_in("preprocessing.normalization")),
        _check_other_trainers(recursive_find_trainer_class_by_name),
    ]


def _check_other_trainers(find) -> Finding:
    """Check nnU-Net's own trainers and those of nnUNet_extTrainer: its search ends at the first broken module."""
    status, found, remedy = OK, "nnU-Net finds its own and those of nnUNet_extTrainer", ""
    try:
        find(LAST_TRAINER)
    except Exception as error:
        status, remedy = FAIL, "install nnunetv2 and what it requires again"
        found = f"nnU-Net finds neither its own nor those of nnUNet_extTrainer ({one_line(error)})"
    if problem := _problem_of_torchvision():
        status, remedy = max(status, WARN, key=(OK, WARN, FAIL).index), _REMEDY
        found += f"; its Primus trainers cannot be used, as {problem}"
    return Finding(status, "other trainers", found, remedy)


def _problem_of_torchvision() -> str | None:
    """Return the mismatch of torch and torchvision; None: they match, or torchvision is not installed."""
    try:
        versions = " and ".join(f"{package} {version(package)}" for package in ("torch", "torchvision"))
    except PackageNotFoundError:
        return None
    try:
        import_module("torchvision")
    except Exception as error:  # RuntimeError: operator torchvision::nms does not exist
        return f"{versions} do not fit each other ({one_line(error)})"
    return None


def _check(kind: str, names: dict[str, str], find) -> Finding:
    lost: dict[str, str] = {}
    for name, module in names.items():
        try:
            if (found := find(name)) is None or found.__module__ != module:
                lost[name] = f"nnU-Net finds {found and found.__module__}"
        except Exception as error:
            lost[name] = one_line(error)
    if not lost:
        return Finding(OK, kind, f"nnU-Net finds {', '.join(names)}")
    message = f"nnU-Net does not find {', '.join(lost)} ({next(iter(lost.values()))})"
    return Finding(FAIL, kind, message, "see the start-up hook above; else install magms_nnunet again")


if __name__ == "__main__":
    main()
