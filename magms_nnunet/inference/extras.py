"""Optional files beside a segmentation: the uncertainty of the network, and a picture."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from glob import escape
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from magms_nnunet.errors import InputError
from magms_nnunet.inference.probabilities import channels_of_regions, on_grid, probabilities, probability_maps
from magms_nnunet.metrics.dice import regions_from_dataset_json
from magms_nnunet.report.preview import save_preview
from magms_nnunet.trust.uncertainty import entropy_nats, mutual_information_nats

UNCERTAINTY, DISAGREEMENT, PROBABILITY, PREVIEWS = "uncertainty", "disagreement", "probability", "previews"
_READ_BY_SIMPLEITK = (".nii.gz", ".nii", ".nrrd", ".mha")


@dataclass(frozen=True)
class Extras:
    """The optional files that are wanted, and their inputs from the model and the case.

    Attributes:
        probabilities: ``probability_REGION/CASE.nii.gz``, the probability of a label or region in every voxel.
        uncertainty: ``uncertainty/CASE.nii.gz``, the predictive entropy of every voxel in nats; from several folds also
            ``disagreement/CASE.nii.gz``, their mutual information in nats.
        preview: ``previews/CASE.png``.
        regions: of the model, by their names in file names -> channels of the probabilities.
        several_folds: whether the output of the model is a mean over several folds.
        images: caption -> file of the case, for the preview.
        logits_of_folds: of the case, each ``(C, *spatial)``.
    """

    probabilities: bool = False
    uncertainty: bool = False
    preview: bool = False
    regions: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    several_folds: bool = False
    images: Mapping[str, Path] = field(default_factory=dict)
    logits_of_folds: Sequence[np.ndarray] = ()

    def of_model(self, dataset_json: dict, folds: int) -> "Extras":
        """Return the extras with the properties of a model.

        Args:
            dataset_json: of the model.
            folds: number of its folds that predict.

        Raises:
            InputError: the files of the model are no volumes.
        """
        ending = dataset_json["file_ending"]
        if (self.probabilities or self.uncertainty or self.preview) and ending not in _READ_BY_SIMPLEITK:
            flags = "--save_probabilities nifti, --save_uncertainty and --preview"
            raise InputError(f"{flags} are for volumes, and this model reads {ending}: leave them out")
        return replace(self, regions=_in_file_names(channels_of_regions(dataset_json)), several_folds=folds > 1)

    @property
    def needs_folds(self) -> bool:
        """Whether :attr:`logits_of_folds` are needed."""
        return self.uncertainty and self.several_folds

    def files(self, case: str) -> list[str]:
        """Return their paths within the output folder: ``KIND/CASE.ending``."""
        maps = [f"{PROBABILITY}_{region}" for region in self.regions] if self.probabilities else []
        maps += [UNCERTAINTY] * self.uncertainty + [DISAGREEMENT] * self.needs_folds
        return [f"{what}/{case}.nii.gz" for what in maps] + [f"{PREVIEWS}/{case}.png"] * self.preview

    def write(
        self, folder: Path, segmentation: Path, logits, properties: dict, plans: dict, configuration: str, dataset: dict
    ) -> None:
        """Write the files that :meth:`files` names.

        Args:
            folder: stands for the output folder.
            segmentation: the file that they belong to.
            logits: of the network, ``(C, *spatial)``.
            properties: of nnU-Net's preprocessing of the case.
            plans: of the model.
            configuration: of the model.
            dataset: content of the model's dataset.json.
        """
        case = segmentation.name.removesuffix(dataset["file_ending"])
        for file in self.files(case):
            (folder / file).parent.mkdir(exist_ok=True)
        labels, maps = sitk.ReadImage(str(segmentation)), {}
        model = plans, configuration, dataset
        if self.uncertainty or self.probabilities:
            of_voxels = probabilities(logits, properties, *model)
            has_regions = PlansManager(plans).get_label_manager(dataset).has_regions
            if self.probabilities:
                found = probability_maps(of_voxels, self.regions, labels)
                maps |= {f"{PROBABILITY}_{region}": image for region, image in found.items()}
            if self.uncertainty:
                maps[UNCERTAINTY] = on_grid(entropy_nats(of_voxels, has_regions), labels)
            if self.needs_folds:
                of_folds = (probabilities(fold, properties, *model) for fold in self.logits_of_folds)
                maps[DISAGREEMENT] = on_grid(mutual_information_nats(of_folds, has_regions), labels)
        for what, image in maps.items():
            sitk.WriteImage(image, str(folder / what / f"{case}.nii.gz"), useCompression=True)
        if self.preview:
            images = {name: sitk.ReadImage(str(file)) for name, file in self.images.items()}
            save_preview(folder / PREVIEWS / f"{case}.png", images, labels, regions_from_dataset_json(dataset))


NOTHING_MORE = Extras()


def older_extras(output: Path, case: str) -> list[Path]:
    """Return the possible paths of a case's extras, of any run, in an output folder."""
    named = [output / what / f"{case}.nii.gz" for what in (UNCERTAINTY, DISAGREEMENT)]
    return [*named, output / PREVIEWS / f"{case}.png", *output.glob(f"{PROBABILITY}_*/{escape(case)}.nii.gz")]


def _in_file_names(regions: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Return the regions by names that are possible in file names; numbered where two would be the same."""
    names = [re.sub(r"[^\w-]+", "_", name) for name in regions]
    if len({name.casefold() for name in names}) < len(names):
        names = [f"{number}_{name}" for number, name in enumerate(names, 1)]
    return dict(zip(names, regions.values(), strict=True))
