"""Lets nnU-Net's own look-up find our classes by name, without touching nnU-Net's files.

nnU-Net resolves ``-tr``, ``-pl`` and normalisation schemes by importing the modules of its own folders one after the
other and asking each for an attribute of that name. We answer for the first module of each folder: after it has been
executed it gains a module-level ``__getattr__`` (PEP 562) that knows our names and imports our class only when one of
them is asked for.

That search also ends at the first module that cannot be imported, whatever class it looks for: nnU-Net's Primus
trainers need torchvision, and one that does not fit torch would hide every trainer behind them, those of
``nnUNet_extTrainer`` too. It steps over a module that "is not found", so that is what we make of the error, with a
warning.

Some of its modules are also changed for training cases that lack modalities, see
:mod:`magms_nnunet.preprocessing.incomplete_cases`.

``zz_magms_nnunet.pth`` imports this module at the start of every Python process, spawned workers included, so it uses
the standard library only, and as little of that as it can. ``MAGMS_AUTOLOAD=0`` switches that off. Where ``.pth`` files
are not read (``pip install --target``, PYTHONPATH), call :func:`install`, as our own commands do.
"""

import os
import sys

TRAINERS = {
    "AnySubsetTrainer": "magms_nnunet.trainers.any_subset_trainer",
    "MAGMSTrainer": "magms_nnunet.trainers.magms_trainer",
    "MAGTrainer": "magms_nnunet.trainers.magms_trainer",
    "HeMISTrainer": "magms_nnunet.trainers.hemis_trainer",
    "ModalityDropoutTrainer": "magms_nnunet.trainers.modality_dropout_trainer",
    "UNETRTrainer": "magms_nnunet.trainers.unetr_trainers",
    "MAGUNETRTrainer": "magms_nnunet.trainers.unetr_trainers",
    "MAGMSUNETRTrainer": "magms_nnunet.trainers.unetr_trainers",
}
PLANNERS = {
    "MAGMSPlanner": "magms_nnunet.planners.magms_planner",
    "MAGMSPlannerResEncM": "magms_nnunet.planners.magms_resenc_planners",
    "MAGMSPlannerResEncL": "magms_nnunet.planners.magms_resenc_planners",
    "MAGMSPlannerResEncXL": "magms_nnunet.planners.magms_resenc_planners",
}
NORMALIZATIONS = {
    "OwnSupportZScoreNormalization": "magms_nnunet.preprocessing.normalization",
    "OwnSupportRescaleTo01Normalization": "magms_nnunet.preprocessing.normalization",
}

# The module that nnU-Net's search opens first in each folder -> the names it shall answer to.
_HOOKS = {
    "nnunetv2.training.nnUNetTrainer.nnUNetTrainer": TRAINERS,
    "nnunetv2.experiment_planning.experiment_planners.default_experiment_planner": PLANNERS,
    "nnunetv2.preprocessing.normalization.default_normalization_schemes": NORMALIZATIONS,
}

# Module of nnU-Net -> the function of magms_nnunet.preprocessing.incomplete_cases that is applied to it.
_CHANGES = {
    "nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor": "change_fingerprint",
    "nnunetv2.experiment_planning.experiment_planners.default_experiment_planner": "change_planner",
    "nnunetv2.experiment_planning.verify_dataset_integrity": "change_listing",
    "nnunetv2.preprocessing.preprocessors.default_preprocessor": "change_preprocessor",
    "nnunetv2.training.nnUNetTrainer.nnUNetTrainer": "change_trainer",
}

_TRAINERS_OF_NNUNET = "nnunetv2.training.nnUNetTrainer."  # what lies in there is optional, but for the trainer itself


class _Finder:
    """A meta path finder that leaves finding to the others and only adds to what a hooked module answers."""

    def find_spec(self, name, path=None, target=None):
        if name not in _HOOKS and name not in _CHANGES and not name.startswith(_TRAINERS_OF_NNUNET):
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                if name in _HOOKS or name in _CHANGES:
                    _or_warn(_answer_after_execution, spec.loader, name)
                else:
                    _or_warn(_not_found_if_broken, spec.loader)
                return spec
        return None


def _answer_after_execution(loader, name):
    execute = loader.exec_module

    def exec_module(module):
        execute(module)
        _or_warn(_adapt, module, name)

    loader.exec_module = exec_module


def _not_found_if_broken(loader):
    execute = loader.exec_module

    def exec_module(module):
        try:
            execute(module)
        except Exception as error:
            import warnings

            name, reason = module.__name__, f"{type(error).__name__}: {error}"
            text = f"nnU-Net's trainers in {name} cannot be used ({reason}); magms_doctor says what to do"
            warnings.warn(text, RuntimeWarning, stacklevel=2)
            raise ModuleNotFoundError(f"{name} cannot be imported ({reason})", name=name) from error

    loader.exec_module = exec_module


def _adapt(module, name):
    if name in _HOOKS:
        add_names(module, _HOOKS[name])
    if name in _CHANGES:
        import importlib

        change = getattr(importlib.import_module("magms_nnunet.preprocessing.incomplete_cases"), _CHANGES[name])
        change(module, PLANNERS)


def add_names(module, names):
    """Make ``getattr(module, name)`` import and return our class for every ``name`` in ``names``."""

    def __getattr__(name):
        if name in names:
            import importlib

            try:
                return getattr(importlib.import_module(names[name]), name)
            except Exception as error:  # an AttributeError would read as "no such class" and nnU-Net would search on
                raise ImportError(f"magms_nnunet has {name!r} but cannot import it: {error!r}") from error
        raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")

    module.__getattr__ = __getattr__


def _or_warn(action, *args):
    """Whatever fails in here must not fail in nnU-Net."""
    try:
        action(*args)
    except Exception as error:
        import warnings

        warnings.warn(f"nnU-Net will not find the classes of magms_nnunet: {error!r}", RuntimeWarning, stacklevel=2)


def install():
    """Register the hook, once."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    for name in {**_HOOKS, **_CHANGES}:  # modules that nnU-Net has imported before us
        if name in sys.modules:
            _or_warn(_adapt, sys.modules[name], name)
    sys.meta_path.insert(0, _Finder())


if os.environ.get("MAGMS_AUTOLOAD") != "0":
    install()
