"""MAG-MS for nnU-Net v2: one model that segments from any subset of the modalities it was trained on.

The names in ``__all__`` are the Python interface of this package; everything else may change between versions.

Every Python process imports this module when it starts (see :mod:`magms_nnunet.autoload`), so each name is imported
when it is first used.
"""

__version__ = "0.1.0"
__all__ = ["InputChecks", "InputError", "InputWarning", "Predictor", "Settings", "__version__", "dice", "hd95"]

_HOMES = {
    "InputChecks": "magms_nnunet.images.checks",
    "InputError": "magms_nnunet.errors",
    "InputWarning": "magms_nnunet.errors",
    "Predictor": "magms_nnunet.inference.predictor",
    "Settings": "magms_nnunet.training.settings",
    "dice": "magms_nnunet.metrics.dice",
    "hd95": "magms_nnunet.metrics.hausdorff",
}


def __getattr__(name: str):
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
