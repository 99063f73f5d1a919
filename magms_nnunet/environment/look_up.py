"""Trainers, planners and normalisations, asked for in the way nnU-Net's commands ask."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from magms_nnunet.environment.finding import FAIL, OK, WARN, Finding, one_line

LAST_TRAINER = "nnUNetTrainer_5epochs"  # of nnU-Net's own; its search opens nearly all others before it
_REMEDY = "install the two together, from the same index: pip install --force-reinstall torch torchvision"


def check_look_up() -> list[Finding]:
    """Whether nnU-Net finds each of our classes by its name; nothing is registered here, so the .pth file must be."""
    try:
        import nnunetv2
        from nnunetv2.utilities.find_class_by_name import recursive_find_python_class
        from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
    except Exception as error:
        remedy = "install nnunetv2 again, in an environment of its own"
        return [Finding(FAIL, "nnU-Net", f"cannot be imported: {one_line(error)}", remedy)]
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
    """nnU-Net's own and those of nnUNet_extTrainer: its search ends at the first module that cannot be imported."""
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
    """Why torch and torchvision do not fit each other; None: they do, or there is none."""
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
