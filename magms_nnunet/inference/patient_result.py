"""What the prediction of one patient in Python returns."""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from magms_nnunet.inference.probabilities import probability_maps


@dataclass(frozen=True)
class PatientResult:
    """What :meth:`Predictor.predict_patient` returns.

    Attributes:
        segmentation: label map in the geometry of the images.
        probabilities: ``(C, z, y, x)``, of nnU-Net's classes or regions; None: they were not asked for.
        uncertainty: predictive entropy in nats on the grid of the images; None: it was not asked for.
        disagreement: mutual information of the folds in nats, likewise; None: it was not asked for, or there is one
            fold.
        channels: label or region -> the channels of ``probabilities`` whose sum is its probability.
        report: what the JSON beside a segmentation of ``magms_predict`` says.
    """

    segmentation: sitk.Image
    probabilities: np.ndarray | None
    uncertainty: sitk.Image | None
    disagreement: sitk.Image | None
    channels: dict[str, tuple[int, ...]]
    report: dict

    @property
    def probability_maps(self) -> dict[str, sitk.Image] | None:
        """Label or region -> its probability on the grid of the images; None: probabilities were not asked for."""
        if self.probabilities is None:
            return None
        return probability_maps(self.probabilities, self.channels, self.segmentation)
