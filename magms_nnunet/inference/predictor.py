"""Prediction from any subset of modalities: nnU-Net's sliding window around a subset of the encoders."""

import io
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from copy import copy
from pathlib import Path
from threading import Lock
from types import SimpleNamespace

import SimpleITK as sitk
import torch
from nnunetv2.inference.export_prediction import export_prediction_from_logits
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import Tensor, nn

from magms_nnunet.errors import InputError, InputWarning
from magms_nnunet.images.appearance import Appearance
from magms_nnunet.images.cases import Case
from magms_nnunet.images.checks import STRICT, InputChecks, check_case, check_previous_stage
from magms_nnunet.images.given_image import Image, as_file
from magms_nnunet.inference.case_report import case_report, dice_at_least, expectation_of_subset, volumes_mm3
from magms_nnunet.inference.job import Job
from magms_nnunet.inference.patient_result import PatientResult
from magms_nnunet.inference.probabilities import channels_of_regions, on_grid
from magms_nnunet.inference.probabilities import probabilities as probabilities_of
from magms_nnunet.modalities import Modalities, Subset
from magms_nnunet.model.model import Fold, TrainedModel, load_model
from magms_nnunet.networks.any_subset_unet import AnySubsetUNet
from magms_nnunet.networks.multi_encoder_unet import MultiEncoderUNet
from magms_nnunet.networks.subset_network import SubsetNetwork
from magms_nnunet.networks.sweep_network import SweepNetwork
from magms_nnunet.nnunet.sliding_window import SlidingWindow
from magms_nnunet.preprocessing.fill import fill_absent
from magms_nnunet.preprocessing.subset import preprocess_case
from magms_nnunet.storage.written_image import trivial_segmentation
from magms_nnunet.trust.uncertainty import entropy_nats, mutual_information_nats

_STDOUT = Lock()
"""Held while stdout is redirected, which affects all threads of a process."""

_SWEEP_BYTES = 4 << 30
"""Size of the logits that a sweep collects at a time; more subsets are predicted in several turns."""


class Predictor:
    """Segments a patient from any subset of the modalities.

    >>> predictor = Predictor("nnUNet_results/Dataset210_BraTS/MAGMSTrainer__MAGMSPlans__3d_fullres")
    >>> segmentation = predictor.predict({"T1c": "patient_t1c.nii.gz", "FLAIR": "patient_flair.nii.gz"})

    Thread-safe: its methods may be called from several threads at once, also those of predictors that share a loaded
    model. Reading, preprocessing and export run side by side; the model's network works on one call at a time.

    Args:
        model: folder ``TRAINER__PLANS__CONFIGURATION``, or a loaded model.
        folds: whose outputs are averaged; None: all that are trained.
        checkpoint: file name within the fold.
        device: ``cuda``, ``cpu`` or ``mps``; None: the GPU if there is one.
        step_size: of the sliding window, as a share of a tile.
        mirroring: whether to average over mirrored images, as nnU-Net does.
        results_on_device: whether to keep the logits of the volume on the GPU.
        progress_bar: whether to print a bar over the tiles of a case.
        verbose: whether to print nnU-Net's messages.
        fill: filling of the missing channels of a stock network, ``zero`` or ``mean``; see
            :func:`magms_nnunet.preprocessing.fill.fill_absent`. None: a stock network needs complete patients.
        fast_sweep: whether :meth:`sweep_logits` shares more between subsets; the logits agree up to rounding.

    Raises:
        InputError: the model cannot be used; see :func:`magms_nnunet.model.model.load_model`. Or its network
            takes any subset, and a filling is given.
    """

    def __init__(
        self,
        model: str | Path | TrainedModel,
        *,
        folds: Sequence[Fold] | None = None,
        checkpoint: str = "checkpoint_final.pth",
        device: str | torch.device | None = None,
        step_size: float = 0.5,
        mirroring: bool = True,
        results_on_device: bool = True,
        progress_bar: bool = False,
        verbose: bool = False,
        fill: str | None = None,
        fast_sweep: bool = False,
    ):
        self.model = model if isinstance(model, TrainedModel) else load_model(Path(model), folds, checkpoint)
        self.fill = fill
        self.check_subset(self.modalities.complete)
        device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        with _STDOUT, redirect_stdout(io.StringIO()):  # nnU-Net prints a comment on the CPU here
            self._sliding_window = SlidingWindow(
                tile_step_size=step_size,
                use_mirroring=mirroring,
                perform_everything_on_device=results_on_device,
                device=device,
                verbose=verbose,
                allow_tqdm=progress_bar,
            )
        self.fast_sweep = fast_sweep
        self.on_tile: Callable[[int, int], None] | None = None  # see SlidingWindow
        chosen = {"fill": fill, "fast_sweep": fast_sweep and self.model.takes_subsets}
        self.settings = {"step_size": step_size, "mirroring": mirroring} | {k: v for k, v in chosen.items() if v}
        self._plans_manager = PlansManager(self.model.plans)
        self._configuration = self._plans_manager.get_configuration(self.model.configuration)

    @property
    def modalities(self) -> Modalities:
        """The modalities of the model."""
        return self.model.modalities

    def predict_logits(self, data: Tensor, subset: Subset, on_fold: Callable[[Tensor], object] | None = None) -> Tensor:
        """Return the logits of a preprocessed case, averaged over the folds.

        Args:
            data: ``(len(subset) + extra, *spatial)``, see :func:`magms_nnunet.preprocessing.subset.preprocess_case`.
            subset: the modalities that ``data`` holds.
            on_fold: called with the logits of each fold.

        Returns:
            ``(classes, *spatial)`` on the CPU.
        """
        self.check_subset(subset)
        network = self.model.network
        if isinstance(network, AnySubsetUNet | MultiEncoderUNet):
            return self._slide(SubsetNetwork(network, subset), data, on_fold=on_fold)
        if self.fill:
            data = fill_absent(data, subset, len(self.modalities), self.fill)
        return self._slide(network, data, on_fold=on_fold)

    def sweep_logits(self, data: Tensor, subsets: Sequence[Subset]) -> Iterator[tuple[Subset, Tensor]]:
        """Yield the logits of a complete preprocessed case for each subset; its voxels are encoded once.

        A stock network runs once per subset, with fillings.

        Args:
            data: ``(M + extra, *spatial)``, see :func:`magms_nnunet.preprocessing.subset.preprocess_case`.
            subsets: in the order of the output.

        Yields:
            Each subset and its logits, ``(classes, *spatial)`` on the CPU, the same as those of
            :meth:`predict_logits` for the channels of the subset; with ``fast_sweep`` up to rounding.
        """
        M, network = len(self.modalities), self.model.network
        if not isinstance(network, AnySubsetUNet | MultiEncoderUNet):
            for subset in subsets:
                yield subset, self.predict_logits(torch.cat((data[list(subset)], data[M:])), subset)
            return
        classes = self._plans_manager.get_label_manager(self.model.dataset_json).num_segmentation_heads
        together = max(1, _SWEEP_BYTES // (2 * classes * data[0].numel()))  # nnU-Net collects float16
        for first in range(0, len(subsets), together):
            group = subsets[first : first + together]
            sweep = SweepNetwork(network, group, fast=self.fast_sweep)
            logits = self._slide(sweep, data, classes * len(group))
            yield from zip(group, logits.split(classes), strict=True)

    def check_subset(self, subset: Subset) -> None:
        """Raise InputError where the model cannot predict from this subset."""
        check_filling(self.model.trainer, self.model.takes_subsets, self.fill, subset, self.modalities)

    def _slide(
        self,
        network: nn.Module,
        data: Tensor,
        outputs: int | None = None,
        on_fold: Callable[[Tensor], object] | None = None,
    ) -> Tensor:
        """Run nnU-Net's sliding window, mirroring and folds with a network; ``outputs``: if not one per class."""
        window, model = copy(self._sliding_window), self.model  # the copy has the settings of this call
        window.manual_initialization(
            network,
            self._plans_manager,
            self._configuration,
            model.weights,
            model.dataset_json,
            model.trainer,
            model.mirror_axes,
        )
        window.on_tile, window.on_fold = self.on_tile, on_fold
        if outputs is not None:
            window.label_manager = SimpleNamespace(num_segmentation_heads=outputs)  # the window uses nothing else of it
        with model.lock:
            logits = window.predict_logits_from_preprocessed_data(data).cpu()
        if (
            not logits.sum(tuple(range(1, logits.ndim)), dtype=torch.float32).isfinite().all()
        ):  # without a copy of the logits
            raise InputError(
                f"the output of {model.folder.name} is not finite: its weights are damaged, or the intensities are "
                "far from those it was trained on"
            )
        return logits

    def predict(
        self, images: dict[str, Image], *, previous_stage: Image | None = None, checks: InputChecks = STRICT
    ) -> sitk.Image:
        """Segment one patient.

        Args:
            images: modality -> image. Modalities are names of dataset.json, usual aliases, or channel numbers.
            previous_stage: the previous stage's segmentation, for a cascade.
            checks: which inputs are accepted that are refused by default.

        Returns:
            Label map in the geometry of the images.

        Raises:
            InputError: a modality is unknown, ambiguous or given twice; images do not lie on one grid, are empty, the
                same, or hold NaN; a file cannot be read; a cascade lacks its previous stage; the network's output is
                not finite.

        Warns:
            InputWarning: an image has an unusual appearance for its modality, an input was accepted by request, or no
                voxel or every voxel is segmented.
        """
        with tempfile.TemporaryDirectory() as folder:
            return self._segment(images, previous_stage, checks, Path(folder))[0]

    def predict_patient(
        self,
        images: dict[str, Image],
        *,
        previous_stage: Image | None = None,
        checks: InputChecks = STRICT,
        probabilities: bool = False,
        uncertainty: bool = False,
    ) -> PatientResult:
        """Segment one patient as :meth:`predict` does, and report how far to trust the result.

        Args:
            images: as for :meth:`predict`.
            previous_stage: as for :meth:`predict`.
            checks: as for :meth:`predict`.
            probabilities: whether to return the probabilities.
            uncertainty: whether to return the entropy of every voxel.

        Raises:
            InputError: as :meth:`predict`.

        Warns:
            InputWarning: as :meth:`predict`.
        """
        model, of_folds = self.model, []
        on_fold = of_folds.append if uncertainty and len(model.folds) > 1 else None
        with tempfile.TemporaryDirectory() as folder:
            given = images, previous_stage, checks, Path(folder), on_fold
            segmentation, job, logits, properties, warning = self._segment(*given)
            expectation = expectation_of_subset(model, job.subset, self.fill)
            report = case_report(job, model, self.settings, expectation)
        report["warnings"] += [warning] if warning else []
        labels, spacing_mm = sitk.GetArrayViewFromImage(segmentation), segmentation.GetSpacing()[::-1]
        report["volumes_mm3"] = volumes_mm3(labels, spacing_mm, model.dataset_json)
        report["dice_at_least"] = dice_at_least(logits, model.plans, model.dataset_json, expectation.residuals)
        of_model = properties, model.plans, model.configuration, model.dataset_json
        of_voxels = probabilities_of(logits, *of_model) if probabilities or uncertainty else None
        entropy, disagreement = None, None
        if uncertainty and of_voxels is not None:
            has_regions = self._plans_manager.get_label_manager(model.dataset_json).has_regions
            entropy = on_grid(entropy_nats(of_voxels, has_regions), segmentation)
            if of_folds:
                found = mutual_information_nats((probabilities_of(fold, *of_model) for fold in of_folds), has_regions)
                disagreement = on_grid(found, segmentation)
        return PatientResult(
            segmentation,
            of_voxels if probabilities else None,
            entropy,
            disagreement,
            channels_of_regions(model.dataset_json),
            report,
        )

    def _segment(
        self,
        images: dict[str, Image],
        previous_stage: Image | None,
        checks: InputChecks,
        folder: Path,
        on_fold: Callable[[Tensor], object] | None = None,
    ) -> tuple[sitk.Image, Job, Tensor, dict, str | None]:
        """Return the segmentation, its job, logits, nnU-Net's properties, and a warning on the segmentation."""
        if not isinstance(images, Mapping) or not images:
            given = "no images" if isinstance(images, Mapping) else f"images are a {type(images).__name__}"
            raise InputError(f"{given}: give modality -> image, at least one of {self.modalities.listing()}")
        self.check_subset(self.modalities.parse([*map(str, images)]))
        if self.model.is_cascaded != (previous_stage is not None):
            need = "needs" if self.model.is_cascaded else "does not take"
            raise InputError(f"{self.model.configuration} {need} the segmentation of a previous stage")
        model, ending = self.model, self.model.dataset_json["file_ending"]
        given = {self.modalities.parse([str(name)])[0]: image for name, image in images.items()}
        labels = {channel: f"the {self.modalities.names[channel]} image" for channel in given}
        files = {
            channel: as_file(image, labels[channel], folder / f"image_{channel:04d}{ending}")
            for channel, image in given.items()
        }
        in_memory = {channel: label for channel, label in labels.items() if files[channel].parent == folder}
        case = Case("image", files, labels=in_memory)
        checked = check_case(
            case,
            tuple(sorted(files)),
            self.modalities,
            checks,
            volumes=len(self._configuration.patch_size) == 3,
            appearance=Appearance.from_plans(model.plans, len(self.modalities)),
        )
        for text in checked.warnings:
            warnings.warn(text, InputWarning, stacklevel=3)
        self.check_subset(checked.subset)
        subset, previous = checked.subset, None
        if previous_stage is not None:
            previous = as_file(previous_stage, "the previous stage", folder / f"previous_stage{ending}")
            check_previous_stage(case, subset, previous, checks)
        job = Job(case, subset, previous, checks, checked.empty, checked.warnings)
        of_model = model.plans, model.configuration, model.dataset_json
        data, properties = preprocess_case(case, subset, *of_model, None if previous is None else str(previous), checks)
        logits = self.predict_logits(torch.from_numpy(data), subset, on_fold)
        result = folder / "result"
        export_prediction_from_logits(
            logits,
            properties,
            self._configuration,
            self._plans_manager,
            model.dataset_json,
            str(result),
            num_threads_torch=torch.get_num_threads(),
        )
        segmentation = sitk.ReadImage(f"{result}{ending}")
        if (warning := trivial_segmentation(sitk.GetArrayViewFromImage(segmentation))) is not None:
            warnings.warn(warning, InputWarning, stacklevel=3)
        return segmentation, job, logits, properties, warning


def check_filling(trainer: str, takes_subsets: bool, fill: str | None, subset: Subset, modalities: Modalities) -> None:
    """Check that a model can predict from a subset.

    Args:
        trainer: for the message.
        takes_subsets: whether its network takes any subset.
        fill: filling of missing channels, or None.
        subset: the modalities to predict from.
        modalities: of the model.

    Raises:
        InputError: a stock network lacks a modality without a filling, or another network is given one.
    """
    if fill and takes_subsets:
        raise InputError(f"{trainer} takes any subset as it is: leave out --fill")
    if not (takes_subsets or fill or len(subset) == len(modalities)):
        absent = modalities.format(m for m in modalities.complete if m not in subset)
        raise InputError(
            f"{trainer} needs all modalities and there is no {absent}: "
            "fill it up with --fill zero or --fill mean, or use a model of AnySubsetTrainer"
        )
