"""``-pl MAGMSPlanner``: nnU-Net's planner with the memory estimate of M encoders."""

from pathlib import Path

from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

from magms_nnunet.images.appearance import PLANS_KEY, learn_appearance
from magms_nnunet.modalities import Modalities
from magms_nnunet.model.model_json import check_dataset_json
from magms_nnunet.networks.multi_encoder_unet import conv_feature_map_size
from magms_nnunet.nnunet.raw_dataset import Files, check_labels_have_images, incomplete_files
from magms_nnunet.nnunet.version import check_hooks, warn_of_untested_nnunet
from magms_nnunet.preprocessing.incomplete_cases import check_gaps, summary
from magms_nnunet.preprocessing.normalization import OWN_SUPPORT
from magms_nnunet.preprocessing.training_images import check_training_images

_HOOKS = (
    "plan_experiment",
    "static_estimate_VRAM_usage",
    "determine_normalization_scheme_and_whether_mask_is_used_for_norm",
    "save_plans",
    "generate_data_identifier",
)


class MAGMSPlanner(ExperimentPlanner):
    """Plans like ExperimentPlanner's, for the memory that MAG-MS training takes, with own-support normalisation.

    The network class in the plans stays nnU-Net's, so stock trainers can use the same plans and preprocessed data.
    ``-gpu_memory_target`` is the memory of the GPU in GB, 24 by default: four modalities then have the patch that
    nnU-Net plans for 8 GB, and with 8 GB a smaller one.

    Args:
        dataset_name_or_id: as for nnU-Net's planner.
        gpu_memory_target_in_gb: memory of the GPU in GB; None: 24.
        preprocessor_name: as for nnU-Net's planner.
        plans_name: as for nnU-Net's planner; None: MAGMSPlans, and for residual encoders their name.
        overwrite_target_spacing: as for nnU-Net's planner.
        suppress_transpose: as for nnU-Net's planner.

    Attributes:
        takes_incomplete_cases: marks a planner whose cases may lack modalities, for
            :mod:`magms_nnunet.preprocessing.incomplete_cases`.

    Raises:
        InputError: no command would load a model of this dataset, for what its dataset.json says.
    """

    takes_incomplete_cases = True
    default_gpu_memory_gb: float = 24
    default_plans_name = "MAGMSPlans"

    def __init__(
        self,
        dataset_name_or_id: str | int,
        gpu_memory_target_in_gb: float | None = None,
        preprocessor_name: str = "DefaultPreprocessor",
        plans_name: str | None = None,
        overwrite_target_spacing: list[float] | tuple[float, ...] | None = None,
        suppress_transpose: bool = False,
    ):
        """Plan as nnU-Net's planner does.

        Raises:
            InputError: training cases lack files.
        """
        check_hooks(ExperimentPlanner, _HOOKS)
        warn_of_untested_nnunet()
        # Without a memory target, because nnU-Net's planners warn of any value but their own.
        super().__init__(
            dataset_name_or_id,
            preprocessor_name=preprocessor_name,
            plans_name=plans_name or self.default_plans_name,
            overwrite_target_spacing=overwrite_target_spacing,
            suppress_transpose=suppress_transpose,
        )
        check_dataset_json(Path(self.raw_dataset_folder) / "dataset.json", self.dataset_json)
        self._files = self._find_files()
        self.UNet_vram_target_GB = gpu_memory_target_in_gb or self.default_gpu_memory_gb

    def _find_files(self) -> dict[str, Files]:
        """Return the images of each case by channel, and print the number of cases that lack some."""
        check_labels_have_images(Path(self.raw_dataset_folder), self.dataset_json, self.dataset.keys())
        files = incomplete_files(self.dataset, self.dataset_json)
        if files is None:
            return {case: dict(enumerate(of_case["images"])) for case, of_case in self.dataset.items()}
        names = Modalities.from_dataset_json(self.dataset_json).names
        check_gaps(files, names)
        self.dataset = {
            case: {**self.dataset[case], "images": [*of_case.values()], "channels": [*of_case]}
            for case, of_case in files.items()
        }
        print(f"magms_nnunet: {summary(files, names)}")
        return files

    def plan_experiment(self):
        """Make nnU-Net's plans, after a check of the images.

        Raises:
            InputError: see :func:`magms_nnunet.preprocessing.training_images.check_training_images`.
        """
        check_training_images(self.dataset, Modalities.from_dataset_json(self.dataset_json))
        return super().plan_experiment()

    @staticmethod
    def static_estimate_VRAM_usage(
        patch_size: tuple[int, ...],
        input_channels: int,
        output_channels: int,
        arch_class_name: str,
        arch_kwargs: dict,
        arch_kwargs_req_import: tuple[str, ...],
    ) -> int:
        """Return the number of voxels of all feature maps of one training pass, with one encoder per input channel.

        Args:
            patch_size: in voxels.
            input_channels: number of modalities.
            output_channels: of the logits.
            arch_class_name: of the network in the plans.
            arch_kwargs: its arguments.
            arch_kwargs_req_import: names of the arguments that are classes.
        """
        unet = get_network_from_plans(
            arch_class_name, arch_kwargs, arch_kwargs_req_import, 1, output_channels, allow_init=False
        )
        return conv_feature_map_size(unet.encoder, unet.decoder, input_channels, patch_size)

    def determine_normalization_scheme_and_whether_mask_is_used_for_norm(self) -> tuple[list[str], list[bool]]:
        """Return nnU-Net's choice of scheme per channel, each from the channel's own support."""
        schemes, use_mask = super().determine_normalization_scheme_and_whether_mask_is_used_for_norm()
        return [OWN_SUPPORT.get(scheme, scheme) for scheme in schemes], use_mask

    def save_plans(self, plans: dict) -> None:
        """Save the plans with the appearance of each channel, by which prediction notices swapped files."""
        plans[PLANS_KEY] = learn_appearance([*self._files.values()])
        super().save_plans(plans)

    def generate_data_identifier(self, configuration_name: str) -> str:
        """Return the name of a folder of our own: our normalisation differs from that in nnU-Net's folders."""
        return f"{self.plans_identifier}_{configuration_name}"
