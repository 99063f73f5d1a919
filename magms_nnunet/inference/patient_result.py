"""The result of a prediction of one patient in Python."""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from magms_nnunet.inference.probabilities import probability_maps


@dataclass(frozen=True)
class PatientResult:
    """The result of :meth:`Predictor.predict_patient`.

    Attributes:
        segmentation: label map in the geometry of the images.
        probabilities: ``(C, z, y, x)``, of nnU-Net's classes or regions; None: not requested.
        uncertainty: predictive entropy in nats on the grid of the images; None: not requested.
        disagreement: mutual information of the folds in nats on the same grid; None: not requested, or one fold.
        channels: label or region -> channels of ``probabilities`` whose sum is its probability.
        report: content of the JSON that ``magms_predict`` writes beside a segmentation.
    """

    segmentation: sitk.Image
    probabilities: np.ndarray | None
    uncertainty: sitk.Image | None
    disagreement: sitk.Image | None
    channels: dict[str, tuple[int, ...]]
    report: dict

    @property
    def probability_maps(self) -> dict[str, sitk.Image] | None:
        """Label or region -> its probability on the grid of the images; None: not requested."""
        if self.probabilities is None:
            return None
        return probability_maps(self.probabilities, self.channels, self.segmentation)
