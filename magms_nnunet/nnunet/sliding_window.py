"""nnU-Net's predictor, imported without torch's compiler, of which its module needs one class for ``isinstance``."""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from torch import Tensor

_COMPILER = "torch._dynamo"


class _IsOptimizedModule(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, getattr(sys.modules.get(_COMPILER), "OptimizedModule", ()))


class OptimizedModule(metaclass=_IsOptimizedModule):
    """Stands for the compiler's class; before the compiler is imported, nothing is an instance of it."""


def _import_predictor() -> Any:
    """Import ``nnUNetPredictor`` without the compiler, which takes as long to import as torch."""
    if _COMPILER not in sys.modules:
        sys.modules[_COMPILER] = stand_in = ModuleType(_COMPILER)
        vars(stand_in)["OptimizedModule"] = OptimizedModule
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


class SlidingWindow(_import_predictor()):
    """nnU-Net's predictor, which can say how far it is, be stopped, and show the output of each fold.

    Attributes:
        on_tile: called before each tile with its number, from 0, and the number of tiles; an exception ends the
            prediction. None: not called.
        on_fold: called with a copy of the logits of each fold, on the CPU, before they are averaged. None: nobody is
            told.
    """

    on_tile: Callable[[int, int], None] | None = None
    on_fold: Callable[[Tensor], object] | None = None

    def predict_sliding_window_return_logits(self, input_image: Tensor) -> Tensor:
        """Predict as nnU-Net does, with one fold."""
        logits = super().predict_sliding_window_return_logits(input_image)
        if self.on_fold is not None:
            self.on_fold(logits.to("cpu", copy=True))  # nnU-Net adds the other folds to the first one's
        return logits

    def _internal_predict_sliding_window_return_logits(
        self, data: Tensor, slicers: list, do_on_device: bool = True
    ) -> Tensor:
        self._tile, self._tiles, self._stopped = 0, len(slicers), None
        logits = super()._internal_predict_sliding_window_return_logits(data, slicers, do_on_device)
        if self._stopped is not None:
            raise self._stopped
        return logits

    def _internal_maybe_mirror_and_predict(self, x: Tensor) -> Tensor:
        if self.on_tile is not None and self._stopped is None:
            try:
                self.on_tile(self._tile, self._tiles)
            except Exception as error:
                self._stopped = error
            self._tile += 1
        if self._stopped is not None:  # an exception here would leave nnU-Net's thread that cuts tiles waiting for ever
            return x.new_zeros((1, self.label_manager.num_segmentation_heads, *x.shape[2:]))
        return super()._internal_maybe_mirror_and_predict(x)
