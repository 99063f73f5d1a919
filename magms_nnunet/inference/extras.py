"""What is written beside a segmentation where it is asked for: where the network doubts, and a picture to look at."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from magms_nnunet.errors import InputError
from magms_nnunet.metrics.dice import regions_from_dataset_json
from magms_nnunet.report.preview import save_preview

UNCERTAINTY, PREVIEWS = "uncertainty", "previews"
_READ_BY_SIMPLEITK = (".nii.gz", ".nii", ".nrrd", ".mha")


@dataclass(frozen=True)
class Extras:
    """What is asked for.

    Attributes:
        uncertainty: ``uncertainty/CASE.nii.gz``, the predictive entropy of every voxel in nats.
        preview: ``previews/CASE.png``.
        images: caption -> file of the case, for the preview.
    """

    uncertainty: bool = False
    preview: bool = False
    images: dict[str, Path] = field(default_factory=dict)

    def check(self, file_ending: str) -> None:
        """Raise InputError where the model's files are none that these can be made of."""
        if (self.uncertainty or self.preview) and file_ending not in _READ_BY_SIMPLEITK:
            raise InputError(
                f"--save_uncertainty and --preview are for volumes, and this model reads {file_ending}: leave them out"
            )

    def files(self, case: str) -> list[str]:
        """Their paths inside of the output folder."""
        return [f"{UNCERTAINTY}/{case}.nii.gz"] * self.uncertainty + [f"{PREVIEWS}/{case}.png"] * self.preview

    def write(
        self, folder: Path, segmentation: Path, logits, properties: dict, plans: dict, configuration: str, dataset: dict
    ) -> None:
        """Write them into ``folder``, which has what :meth:`files` names.

        Args:
            folder: that stands for the output folder.
            segmentation: the file that they lie beside.
            logits: of the network, ``(C, *spatial)``.
            properties: of nnU-Net's preprocessing of the case.
            plans, configuration: of the model; ``dataset``: content of its dataset.json.
        """
        case = segmentation.name.removesuffix(dataset["file_ending"])
        for file in self.files(case):
            (folder / file).parent.mkdir(exist_ok=True)
        labels = sitk.ReadImage(str(segmentation))
        if self.uncertainty:
            of_voxels = probabilities(logits, properties, plans, configuration, dataset)
            has_regions = PlansManager(plans).get_label_manager(dataset).has_regions
            image = on_grid(entropy_nats(of_voxels, has_regions), labels)
            sitk.WriteImage(image, str(folder / UNCERTAINTY / f"{case}.nii.gz"), useCompression=True)
        if self.preview:
            images = {name: sitk.ReadImage(str(file)) for name, file in self.images.items()}
            save_preview(folder / PREVIEWS / f"{case}.png", images, labels, regions_from_dataset_json(dataset))


NOTHING_MORE, EVERYTHING = Extras(), Extras(uncertainty=True, preview=True)


def probabilities(logits, properties: dict, plans: dict, configuration: str, dataset_json: dict) -> np.ndarray:
    """nnU-Net's probabilities on the grid of the images, ``(C, z, y, x)``."""
    manager = PlansManager(plans)
    _, found = convert_predicted_logits_to_segmentation_with_correct_shape(
        torch.as_tensor(logits),
        manager,
        manager.get_configuration(configuration),
        manager.get_label_manager(dataset_json),
        properties,
        return_probabilities=True,
        num_threads_torch=torch.get_num_threads(),
    )
    return found


def entropy_nats(probabilities: np.ndarray, regions: bool) -> np.ndarray:
    """Predictive entropy of every voxel.

    Args:
        probabilities: ``(C, z, y, x)``.
        regions: they are sigmoids, each an answer of its own; their entropies are averaged.
    """
    p = torch.as_tensor(probabilities).float().clamp(0, 1)
    if regions:
        return (torch.special.entr(p) + torch.special.entr(1 - p)).mean(0).numpy()
    return torch.special.entr(p).sum(0).numpy()


def on_grid(array: np.ndarray, like: sitk.Image) -> sitk.Image:
    """An image of an array ``(z, y, x)`` on the grid of another image."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(array, np.float32))
    image.CopyInformation(like)
    return image
