"""MAG-MS for nnU-Net v2: one model that segments from any subset of the modalities it was trained on.

Imported at the start of every Python process (see :mod:`magms_nnunet.autoload`), so nothing is imported here.
"""

__version__ = "0.1.0"
__all__ = ["Predictor", "__version__"]


def __getattr__(name):
    if name == "Predictor":
        from magms_nnunet.inference.predictor import Predictor

        return Predictor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
