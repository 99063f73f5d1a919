"""Feeds damaged files to our code in a process with little memory; prints a line for everything but our own errors.

``python -m tests.fuzz.worker TARGET HOME FIRST COUNT``
"""

import faulthandler
import gzip
import json
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

SPARE_BYTES = 1 << 30  # more than any of these inputs is worth
LIMIT_S = 30  # a hundredth of that is usual; the machine may be busy


def nifti(home: Path) -> Callable[[int], None]:
    """A seed's damage to a .nii or .nii.gz, which is then checked and preprocessed as for a prediction."""
    import numpy as np
    import SimpleITK as sitk

    from magms_nnunet.environment.tiny_model import CONFIGURATION, dataset_json, plans
    from magms_nnunet.images import cases
    from magms_nnunet.modalities import Modalities
    from magms_nnunet.preprocessing import resampling
    from magms_nnunet.preprocessing.subset import preprocess_case
    from tests.fuzz.mutations import HEADER, damage_bytes, damage_header

    resampling.MOST_VOXELS = 2**22  # in proportion to the memory here
    sound = home / "sound.nii"
    rng = np.random.default_rng(0)
    sitk.WriteImage(sitk.GetImageFromArray(rng.normal(100, 20, (9, 11, 10)).astype(np.float32)), str(sound))
    content = sound.read_bytes()

    def feed(seed: int) -> None:
        ending, kind = (".nii", ".nii.gz")[seed % 2], seed // 2 % 3
        damaged = damage_header(content, seed) if kind else damage_bytes(content, seed, HEADER)
        if ending == ".nii.gz":
            damaged = gzip.compress(damaged, 1, mtime=0)
            damaged = damaged if kind else damage_bytes(damaged, seed, len(damaged))
        path = home / f"case_0000{ending}"
        path.write_bytes(damaged)
        case, dataset = cases.Case("case", {0: path}), {**dataset_json(["T1"]), "file_ending": ending}
        cases.check_files(case, (0,), Modalities(("T1",)))
        preprocess_case(case, (0,), plans(1), CONFIGURATION, dataset)

    return feed


def model(home: Path) -> Callable[[int], None]:
    """A seed's damage to plans.json or dataset.json of a model, which is then used; no other file contradicts them."""
    import shutil

    import numpy as np
    import torch

    from magms_nnunet import Predictor
    from magms_nnunet.environment.tiny_model import make_tiny_model
    from tests.fuzz.mutations import damage_json

    made, _ = make_tiny_model(home, ["T1", "T2"])
    folder = home / "model"  # a name that says nothing
    shutil.copytree(made, folder)
    checkpoint = folder / "fold_0" / "checkpoint_final.pth"
    content = torch.load(checkpoint, weights_only=False)
    for key in ("plans", "dataset_json"):  # whoever wrote the files wrote these, too
        content["init_args"][key] = None
    torch.save(content, checkpoint)
    sound = {name: json.loads((folder / name).read_text()) for name in ("plans.json", "dataset.json")}
    sound["plans.json"]["configurations"]["tiny"]["normalization_schemes"][1] = "CTNormalization"
    look = {"mean": [-1.5, -1.2, -0.6, 0, 0.6, 1.2, 1.5], "sd": [0.1] * 7, "cases": 8}
    sound["plans.json"]["magms_appearance"] = {"0": look, "1": look}
    rng = np.random.default_rng(0)
    images = {str(m): (rng.normal(100, 20, (9, 11, 10)).astype(np.float32), (1.0, 1.5, 0.8)) for m in range(2)}

    def feed(seed: int) -> None:
        damaged = ("plans.json", "dataset.json")[seed % 4 == 0]
        for name, json_content in sound.items():
            text = damage_json(json_content, seed) if name == damaged else json.dumps(json_content)
            (folder / name).write_text(text, encoding="utf-8", errors="replace")
        predictor = Predictor(folder, device="cpu", step_size=1, mirroring=False)
        predictor.predict(images)

    return feed


def main() -> None:
    """Entry point: every seed is said before it is fed, since it may be the last."""
    target, home, first, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    for kind in ("raw", "preprocessed", "results"):
        os.environ[f"nnUNet_{kind}"] = str(home)
    out = sys.stdout
    with redirect_stdout(sys.stderr):
        from magms_nnunet.errors import CaseError, InputError

        feed = {"nifti": nifti, "model": model}[target](home)
        bound = _virtual_bytes() + SPARE_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
        signal.signal(signal.SIGALRM, _too_long)
        accepted = 0
        for seed in range(first, first + count):
            print(json.dumps({"seed": seed}), file=out, flush=True)
            signal.alarm(LIMIT_S)
            faulthandler.dump_traceback_later(2 * LIMIT_S, exit=True)  # what is not Python's hears no alarm
            try:
                feed(seed)
                accepted += 1
            except (InputError, CaseError) as error:
                if len(str(error).splitlines()) > 1 or len(str(error)) > 2000:
                    print(json.dumps({"defect": f"not a line: {str(error)[:500]!r}"}), file=out, flush=True)
            except BaseException as error:
                where = "".join(traceback.format_tb(error.__traceback__)[-4:])
                print(
                    json.dumps({"defect": f"{type(error).__name__}: {str(error)[:500]}\n{where}"}), file=out, flush=True
                )
            finally:
                signal.alarm(0)
                faulthandler.cancel_dump_traceback_later()
        print(json.dumps({"accepted": accepted, "peak_bytes": _peak_bytes()}), file=out, flush=True)


def _too_long(*_) -> None:
    raise TimeoutError(f"still busy after {LIMIT_S} s")


def _virtual_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
