"""What we override, wrap or read of nnU-Net: each name is there, with the signature that we rely on."""

import ast
import inspect
from importlib import import_module

import pytest
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

import magms_nnunet.planners
import magms_nnunet.trainers
from magms_nnunet.errors import InputError
from magms_nnunet.nnunet.version import check_hooks
from magms_nnunet.planners import MAGMSPlanner, magms_planner
from magms_nnunet.preprocessing import normalization
from magms_nnunet.training import trainer as training
from tests.test_architecture import sources
from tests.trainers.conftest import make_trainer  # noqa: F401 (a fixture)

# module -> function or method -> its parameters.
SIGNATURES = {
    "nnunetv2.training.nnUNetTrainer.nnUNetTrainer": {
        "nnUNetTrainer.__init__": "self plans configuration fold dataset_json device",
        "nnUNetTrainer.initialize": "self",
        "nnUNetTrainer.build_network_architecture": "plans_manager configuration_manager "
        "num_input_channels num_output_channels enable_deep_supervision",
        "nnUNetTrainer._build_loss": "self",
        "nnUNetTrainer._do_i_compile": "self",
        "nnUNetTrainer.configure_optimizers": "self",
        "nnUNetTrainer.get_dataloaders": "self",
        "nnUNetTrainer.get_tr_and_val_datasets": "self",
        "nnUNetTrainer.on_train_start": "self",
        "nnUNetTrainer.on_train_epoch_end": "self train_outputs",
        "nnUNetTrainer.train_step": "self batch",
        "nnUNetTrainer.run_training": "self",
        "nnUNetTrainer.perform_actual_validation": "self save_probabilities",
        "nnUNetTrainer.save_checkpoint": "self filename",
        "nnUNetTrainer.load_checkpoint": "self filename_or_checkpoint",
        "nnUNetTrainer.print_to_log_file": "self args also_print_to_console add_timestamp",
    },
    "nnunetv2.training.dataloading.nnunet_dataset": {
        "nnUNetDatasetBlosc2.load_case": "self identifier",
    },
    "nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor": {
        "DatasetFingerprintExtractor.run": "self overwrite_existing",
    },
    "nnunetv2.training.lr_scheduler.polylr": {
        "PolyLRScheduler.__init__": "self optimizer initial_lr max_steps exponent current_step",
    },
    "nnunetv2.run.run_training": {
        "get_trainer_from_args": "dataset_name_or_id configuration fold trainer_name plans_identifier "
        "continue_training device",
        "maybe_load_checkpoint": "nnunet_trainer continue_training validation_only pretrained_weights_file",
        "run_training": "dataset_name_or_id configuration fold trainer_class_name plans_identifier pretrained_weights "
        "num_gpus export_validation_probabilities continue_training only_run_validation disable_checkpointing "
        "val_with_best device",
    },
    "nnunetv2.run.load_pretrained_weights": {
        "load_pretrained_weights": "network fname verbose",
    },
    "nnunetv2.experiment_planning.experiment_planners.default_experiment_planner": {
        "ExperimentPlanner.__init__": "self dataset_name_or_id gpu_memory_target_in_gb "
        "preprocessor_name plans_name overwrite_target_spacing suppress_transpose",
        "ExperimentPlanner.static_estimate_VRAM_usage": "patch_size input_channels output_channels "
        "arch_class_name arch_kwargs arch_kwargs_req_import",
        "ExperimentPlanner.determine_normalization_scheme_and_whether_mask_is_used_for_norm": "self",
        "ExperimentPlanner.save_plans": "self plans",
        "ExperimentPlanner.generate_data_identifier": "self configuration_name",
    },
    "nnunetv2.preprocessing.normalization.default_normalization_schemes": {
        "ZScoreNormalization.run": "self image seg",
        "RescaleTo01Normalization.run": "self image seg",
    },
    "nnunetv2.preprocessing.preprocessors.default_preprocessor": {
        "DefaultPreprocessor.run_case_npy": "self data seg properties plans_manager configuration_manager dataset_json",
    },
    "nnunetv2.preprocessing.resampling.default_resampling": {
        "compute_new_shape": "old_shape old_spacing new_spacing",
    },
    "nnunetv2.preprocessing.cropping.cropping": {
        "create_nonzero_mask": "data",
    },
    "nnunetv2.inference.predict_from_raw_data": {
        "nnUNetPredictor.__init__": "self tile_step_size use_gaussian use_mirroring "
        "perform_everything_on_device device verbose verbose_preprocessing allow_tqdm",
        "nnUNetPredictor.manual_initialization": "self network plans_manager configuration_manager "
        "parameters dataset_json trainer_name inference_allowed_mirroring_axes",
        "nnUNetPredictor.predict_logits_from_preprocessed_data": "self data",
        "nnUNetPredictor.predict_sliding_window_return_logits": "self input_image",
        "nnUNetPredictor._internal_predict_sliding_window_return_logits": "self data slicers do_on_device",
        "nnUNetPredictor._internal_maybe_mirror_and_predict": "self x",
    },
    "nnunetv2.inference.export_prediction": {
        "export_prediction_from_logits": "predicted_array_or_file properties_dict configuration_manager plans_manager "
        "dataset_json_dict_or_file output_file_truncated save_probabilities num_threads_torch",
        "convert_predicted_logits_to_segmentation_with_correct_shape": "predicted_logits plans_manager "
        "configuration_manager label_manager properties_dict return_probabilities num_threads_torch",
    },
    "nnunetv2.utilities.get_network_from_plans": {
        "get_network_from_plans": "arch_class_name arch_kwargs arch_kwargs_req_import "
        "input_channels output_channels allow_init deep_supervision",
    },
    "nnunetv2.utilities.label_handling.label_handling": {
        "convert_labelmap_to_one_hot": "segmentation all_labels output_dtype",
        "determine_num_input_channels": "plans_manager configuration_or_config_manager dataset_json",
    },
    "nnunetv2.utilities.find_objects": {
        "recursive_find_trainer_class_by_name": "trainer_name",
    },
    "nnunetv2.utilities.find_class_by_name": {
        "recursive_find_python_class": "folder class_name current_module "
        "base_folder verbose cleanup_imports_from_base_folder",
    },
    "nnunetv2.utilities.file_path_utilities": {
        "get_output_folder": "dataset_name_or_id trainer_name plans_identifier configuration fold",
    },
    "nnunetv2.utilities.default_n_proc_DA": {
        "get_allowed_n_proc_DA": "",
    },
    "nnunetv2.utilities.plans_handling.plans_handler": {
        "PlansManager.get_configuration": "self configuration_name",
        "PlansManager.get_label_manager": "self dataset_json kwargs",
    },
    "nnunetv2.imageio.base_reader_writer": {
        "BaseReaderWriter.read_images": "self image_fnames",
        "BaseReaderWriter.read_seg": "self seg_fname",
        "BaseReaderWriter.write_seg": "self seg output_fname properties",
    },
    "batchgenerators.dataloading.nondet_multi_threaded_augmenter": {
        "NonDetMultiThreadedAugmenter._finish": "self timeout force",
    },
}

ATTRIBUTES_OF_A_TRAINER = (
    *("configuration_manager", "current_epoch", "dataloader_train", "dataloader_val", "device", "initial_lr"),
    *("disable_checkpointing", "enable_deep_supervision", "grad_scaler", "inference_allowed_mirroring_axes", "is_ddp"),
    *("label_manager", "local_rank", "logger", "loss", "lr_scheduler", "my_init_kwargs", "network", "num_epochs"),
    *("num_iterations_per_epoch", "num_val_iterations_per_epoch", "optimizer", "output_folder", "weight_decay"),
    *("preprocessed_dataset_folder_base", "save_every", "was_initialized"),
)
LINES_OF_A_LOG = [
    '"Epoch time: {',
    "'train_loss'",
    "f'Epoch {self.current_epoch}'",
]  # by which progress and cost are read


def find(module: str, name: str):
    """The object, or a failure that says what is missing."""
    found = import_module(module)
    for part in name.split("."):
        assert hasattr(found, part), f"nnU-Net has no {module}.{name}"
        found = getattr(found, part)
    return found


@pytest.mark.parametrize(
    ("module", "name", "parameters"),
    [(module, *item) for module, names in SIGNATURES.items() for item in names.items()],
    ids=[name for names in SIGNATURES.values() for name in names],
)
def test_a_function_has_the_parameters_that_we_rely_on(module, name, parameters):
    assert " ".join(inspect.signature(find(module, name)).parameters) == parameters


def imported() -> set[tuple[str, str]]:
    """Module and name of all that our source imports from nnU-Net."""
    return {
        (node.module, alias.name)
        for file in sources().values()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "nnunetv2"
        for alias in node.names
    }


def test_what_we_import_is_there():
    assert len(imported()) > 15
    for module, name in imported():
        if module != "nnunetv2":
            find(module, name)


def ours() -> list[tuple[type, str, type]]:
    """Each method of a class of ours that a base of nnU-Net has, too, or that our list of hooks names."""
    found = []
    packages = (magms_nnunet.trainers, magms_nnunet.planners, normalization, training)
    classes = {c for package in packages for c in vars(package).values() if inspect.isclass(c)}
    for cls in {base for c in classes for base in c.__mro__ if base.__module__.startswith("magms_nnunet")}:
        theirs = [base for base in cls.__mro__ if base.__module__.startswith("nnunetv2")]
        for name, member in vars(cls).items():
            if callable(member) or isinstance(member, staticmethod | classmethod):
                found += [(cls, name, base) for base in theirs if hasattr(base, name)][:1]
    return sorted(found, key=str)


def test_an_override_takes_what_the_overridden_method_takes():
    assert len(ours()) > 15
    for cls, name, base in ours():
        takes, given = (list(inspect.signature(getattr(c, name)).parameters) for c in (cls, base))
        assert takes == given, f"{cls.__name__}.{name}"


def test_the_lists_of_hooks_are_complete():
    """They are compared with nnU-Net at run time, where a renamed hook would never be called."""
    for hooks, root in ((training._HOOKS, nnUNetTrainer), (magms_planner._HOOKS, ExperimentPlanner)):
        overridden = {name for cls, name, _ in ours() if issubclass(cls, root)} - {"__init__"}
        assert overridden == set(hooks)


def test_a_hook_that_nnunet_has_renamed_is_named(monkeypatch):
    monkeypatch.delattr(ExperimentPlanner, "save_plans")
    with pytest.raises(InputError, match=r"has no ExperimentPlanner\.save_plans, .*: install nnunetv2 2\.8"):
        MAGMSPlanner(999)


def test_hooks_that_are_there_pass():
    check_hooks(nnUNetTrainer, training._HOOKS)


def test_a_trainer_has_the_attributes_that_we_read(make_trainer):  # noqa: F811
    trainer = make_trainer(nnUNetTrainer)
    assert [name for name in ATTRIBUTES_OF_A_TRAINER if not hasattr(trainer, name)] == []
    assert trainer.lr_scheduler.max_steps == trainer.num_epochs


def test_a_planner_has_the_attributes_that_we_read():
    source = inspect.getsource(ExperimentPlanner)
    for name in ("self.UNet_vram_target_GB = ", "self.plans_identifier = ", "self.dataset = ", "['images']"):
        assert name in source, name


def test_the_log_has_the_lines_that_we_read():
    source = inspect.getsource(nnUNetTrainer)
    for line in LINES_OF_A_LOG:
        assert line in source, line


def test_training_reads_pretrained_weights_by_the_name_that_we_guard():
    entry = find("nnunetv2.run.run_training", "maybe_load_checkpoint")
    assert "load_pretrained_weights(nnunet_trainer.network, pretrained_weights_file" in inspect.getsource(entry)
