"""Which networks are built from plans that anybody may have written; hostile ones: tests/faults/test_model_json.py."""

import pytest

from magms_nnunet.errors import InputError
from magms_nnunet.networks.architecture import check_architecture
from tests.networks.conftest import configuration


@pytest.mark.parametrize("unet", ["PlainConvUNet", "ResidualEncoderUNet"])
@pytest.mark.parametrize("dim", [2, 3])
def test_what_planners_write_passes(unet, dim):
    check_architecture(configuration(3, dim, unet))


def test_sizes_may_be_one_number_for_all_axes():
    manager = configuration(3)
    kwargs = manager.configuration["architecture"]["arch_kwargs"]
    kwargs["strides"], kwargs["kernel_sizes"] = [1, 2, 2], 3
    check_architecture(manager)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"strides": [[1, 1, 1], [2, 2], [2, 2, 2]]}, r"strides must hold 3 numbers of voxels per stage, .* \[2, 2\]"),
        ({"strides": [[1, 1, 1], [2, 2, -1], [2, 2, 2]]}, r"strides must hold 3 .* got \[2, 2, -1\]"),
        ({"strides": [[1, 1, 1], [[2], 2, 2], [2, 2, 2]]}, "strides must hold 3"),
        ({"kernel_sizes": [[3, 3, 3], [3, 3, "3"], [3, 3, 3]]}, "kernel_sizes must hold 3"),
        ({"strides": [[1, 1, 1], [2, 2, 2], [2, 2, 3]]}, r"patch_size \[16, 16, 16\] must be divisible by \[4, 4, 6\]"),
    ],
)
def test_stages_that_do_not_fit_the_patch(changes, says):
    manager = configuration(3)
    manager.configuration["architecture"]["arch_kwargs"].update(changes)
    with pytest.raises(InputError, match=says):
        check_architecture(manager)
