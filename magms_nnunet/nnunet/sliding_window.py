"""nnU-Net's predictor, imported without torch's compiler: its module needs one class of that, for ``isinstance``."""

import sys
from types import ModuleType

_COMPILER = "torch._dynamo"


class _IsOptimizedModule(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, getattr(sys.modules.get(_COMPILER), "OptimizedModule", ()))


class OptimizedModule(metaclass=_IsOptimizedModule):
    """``isinstance`` answers as for the compiler's class: nothing is one before the compiler is imported."""


def _import_predictor() -> type:
    """``nnUNetPredictor``. The compiler takes as long to import as torch; torch.compile imports it when asked to."""
    if _COMPILER not in sys.modules:
        sys.modules[_COMPILER] = stand_in = ModuleType(_COMPILER)
        stand_in.OptimizedModule = OptimizedModule
        try:
            from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
        except ImportError:  # another nnU-Net, which needs more of it
            pass
        else:
            return nnUNetPredictor
        finally:
            del sys.modules[_COMPILER]
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    return nnUNetPredictor


SlidingWindow = _import_predictor()
