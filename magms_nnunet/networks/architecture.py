"""The classes that plans may name: a model may come from anybody, and nnU-Net calls every class in its plans."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager

from magms_nnunet.errors import InputError, shorten

# The last is the place in old plans; nnU-Net finds the class in its new place.
NETWORKS = tuple(
    f"dynamic_network_architectures.architectures.{name}"
    for name in (
        "unet.PlainConvUNet",
        "unet.ResidualEncoderUNet",
        "unet.ResidualUNet",
        "residual_unet.ResidualEncoderUNet",
    )
)
LAYERS = re.compile(
    r"torch\.nn\.(modules\.(conv|instancenorm|batchnorm|dropout|activation)\.)?"
    r"(Conv[123]d|InstanceNorm[123]d|BatchNorm[123]d|Dropout|Dropout[123]d|"
    r"ReLU|LeakyReLU|PReLU|ELU|GELU|SiLU|Mish)"
)
_LARGEST = {"n_stages": 20, "n_conv_per_stage": 100, "n_blocks_per_stage": 100, "n_conv_per_stage_decoder": 100}
_LARGEST_OTHERWISE = 8192
_MOST_WEIGHTS = 10**10
_MOST_VOXELS = 2**30


def check_architecture(configuration: ConfigurationManager) -> None:
    """Check that building and running the network of these plans cannot do more than build and run a network.

    Raises:
        InputError: a class is not on the list, or a number is missing or enormous.
    """
    name, kwargs = configuration.network_arch_class_name, configuration.network_arch_init_kwargs
    if name not in NETWORKS:
        raise InputError(
            f"plans.json: network_class_name is {shorten(name)}, and only {', '.join(NETWORKS[:3])} are built from "
            "plans"
        )
    if not isinstance(kwargs, Mapping):
        raise InputError(f"plans.json: arch_kwargs must be an object, got {shorten(kwargs)}")
    for key in configuration.network_arch_init_kwargs_req_import:
        layer = kwargs.get(key) if isinstance(key, str) else key
        if layer is not None and not (isinstance(layer, str) and LAYERS.fullmatch(layer)):
            raise InputError(
                f"plans.json: {_named(key)} is {shorten(layer)}, and only convolutions, norms, dropout and activations "
                "of torch.nn are built from plans"
            )
    for key, value in kwargs.items():
        largest = _LARGEST.get(key, _LARGEST_OTHERWISE)
        for number in _numbers(value):
            if not abs(number) <= largest:  # nor NaN
                raise InputError(
                    f"plans.json: {_named(key)} holds {shorten(number)}; at most {largest} is built from plans"
                )
    _check_size(kwargs, len(configuration.normalization_schemes))
    patch = configuration.patch_size
    whole = isinstance(patch, list | tuple) and all(type(size) is int and size > 0 for size in patch)
    if not whole or len(patch) not in (2, 3) or math.prod(patch) > _MOST_VOXELS:
        raise InputError(f"plans.json: patch_size must be 2 or 3 numbers of voxels, got {shorten(patch)}")
    _check_grids(kwargs, patch)


def _check_size(kwargs: Mapping, M: int) -> None:
    """Check a generous estimate of the number of weights: convolutions of every stage, for each encoder."""
    try:
        stages = kwargs["n_stages"]
        features, kernels = _per_stage(kwargs["features_per_stage"], stages), _per_stage(kwargs["kernel_sizes"], stages)
        convolutions = _per_stage(kwargs.get("n_conv_per_stage", kwargs.get("n_blocks_per_stage")), stages)
        weights = M * sum(
            n * wide * wide * math.prod(_numbers(kernel))
            for n, wide, kernel in zip(convolutions, features, kernels, strict=True)
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"plans.json: arch_kwargs describes no U-Net ({type(error).__name__}: {error}): copy it again from whoever "
            "trained the model"
        ) from error
    if weights > _MOST_WEIGHTS:
        raise InputError(
            f"plans.json: a network of {M} encoders with {shorten(features)} features would have some {weights:.0e} "
            "weights, more than any real one"
        )


def _check_grids(kwargs: Mapping, patch: Sequence[int]) -> None:
    """Check that the strides of all stages divide the patch without remainder along each of its axes."""
    for key in ("kernel_sizes", "strides"):
        for value in _per_stage(kwargs.get(key), kwargs["n_stages"]):
            sizes = value if isinstance(value, list | tuple) else [value] * len(patch)
            if len(sizes) != len(patch) or not all(type(size) is int and size > 0 for size in sizes):
                raise InputError(
                    f"plans.json: {key} must hold {len(patch)} numbers of voxels per stage, like patch_size, got "
                    f"{shorten(value)}"
                )
    strides = [[s] * len(patch) if isinstance(s, int) else s for s in _per_stage(kwargs["strides"], kwargs["n_stages"])]
    shrink = [math.prod(axis) for axis in zip(*strides, strict=True)]
    if any(size % factor for size, factor in zip(patch, shrink, strict=True)):
        raise InputError(
            f"plans.json: patch_size {shorten(patch)} must be divisible by {shorten(shrink)}, as strides say"
        )


def _named(key) -> str:
    return shorten(key).strip("'")


def _per_stage(value, stages: int) -> list:
    return list(value) if isinstance(value, list | tuple) else [value] * stages


def _numbers(value) -> Iterator[float]:
    """Yield every number in nested lists and objects; true and false are not numbers."""
    if isinstance(value, Mapping):
        value = value.values()
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield value
    elif isinstance(value, Iterable) and not isinstance(value, str):
        for inner in value:
            yield from _numbers(inner)
