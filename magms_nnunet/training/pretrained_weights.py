"""Fine-tuning (``-pretrained_weights``), also from U-Nets of one channel or of all modalities.

nnU-Net unpickles that file outside of the trainers, so the function that does it is replaced.
"""

import math
import re
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from nnunetv2.run.load_pretrained_weights import load_pretrained_weights as load_anything
from torch import Tensor, nn

from magms_nnunet.errors import InputError, InputWarning, format_size
from magms_nnunet.model.checkpoints import TRUST_VARIABLE, read_checkpoint, trusted_by_environment
from magms_nnunet.networks.any_subset_unet import AnySubsetUNet
from magms_nnunet.networks.multi_encoder_unet import MultiEncoderUNet

_ENTRY = "nnunetv2.run.run_training"
_BELONGS_TO_DATASET = re.compile(r"\.seg_layers\.|^(decision_offset|estimate)\.")
"""These tensors keep their initial values: the pretrained model may have other labels and other images."""
_OTHER_PLANS = "plan this dataset with that model's plans (nnUNetv2_move_plans_between_datasets)"


def guard_pretrained_weights() -> None:
    """Make nnUNetv2_train read pretrained weights as data, in this process.

    Our trainers call this when they are made, in every process of a training, before the weights are read.

    Warns:
        InputWarning: this nnU-Net reads the weights in another way than the tested version.
    """
    for name in (_ENTRY, "__main__"):  # the latter: python -m nnunetv2.run.run_training
        module = sys.modules.get(name)
        if getattr(module, "load_pretrained_weights", None) is load_anything:
            vars(module)["load_pretrained_weights"] = load_data
    entry = sys.modules.get(_ENTRY)
    if entry is not None and getattr(entry, "load_pretrained_weights", None) is not load_data:
        warnings.warn(
            "this nnU-Net reads the file of -pretrained_weights in a way that magms_nnunet does not know, and may "
            "execute what is in it: use files only from those whom you trust",
            InputWarning,
            stacklevel=2,
        )


def load_data(network: nn.Module, fname: str, verbose: bool = False) -> None:
    """Replace nnU-Net's ``load_pretrained_weights``: the file is read as data only, :func:`weights_for` adapts it.

    The kind of the weights is printed, and kept as ``network.pretrained`` for the log of the training.

    Args:
        network: gets the weights.
        fname: the checkpoint.
        verbose: not used; nnU-Net passes it.

    Raises:
        InputError: the file holds more than data, or weights that do not fit this network.
    """
    wrapped: Any = getattr(network, "module", network)  # DistributedDataParallel
    plain: Any = getattr(wrapped, "_orig_mod", wrapped)  # torch.compile
    remedy = f"{TRUST_VARIABLE}=1 if you trust who made it"
    checkpoint = read_checkpoint(Path(fname), trusted_by_environment(), remedy)
    try:
        case, weights = weights_for(plain, checkpoint)
    except InputError as error:
        raise InputError(f"-pretrained_weights {fname}: {error}") from error
    own = plain.state_dict()
    plain.load_state_dict(weights, strict=False)
    loaded, tensors = (len({own[name].data_ptr() for name in names}) for names in (weights, own))  # some have two names
    plain.pretrained = f"pretrained weights of {case}, {loaded} of {tensors} tensors loaded"
    print(f"magms_nnunet: {plain.pretrained}", flush=True)


def weights_for(network: nn.Module, checkpoint: Mapping) -> tuple[str, dict[str, Tensor]]:
    """Return the kind of the model in a checkpoint, and its tensors under the names of the network.

    A model of the same kind must fit in all tensors except those of the labels. A U-Net of one or of all modalities
    must fit in its encoder; its decoder is used where it fits.

    Args:
        network: of one of our trainers.
        checkpoint: of nnU-Net or nnssl.

    Raises:
        InputError: the model does not fit; the message names a tensor that prevents it.
    """
    weights = _under_names_of_unets(checkpoint)
    own = {name: tensor for name, tensor in network.state_dict().items() if not _BELONGS_TO_DATASET.search(name)}
    if isinstance(network, MultiEncoderUNet) and not any(name.startswith("encoders.") for name in weights):
        encoders: dict[str, Any] = {f"encoders.{m}.": encoder for m, encoder in enumerate(network.encoders)}
    elif isinstance(network, AnySubsetUNet) and "decision_offset.output.bias" not in weights:
        encoders = {"encoder.": network.encoder}
    else:
        remedy = "take a model of this trainer and of as many modalities"
        return "a model of this kind", {
            name: _fitting(name, _present(name, weights, remedy), tensor) for name, tensor in own.items()
        }
    fitted = {
        name: weights[name]
        for name, tensor in own.items()
        if name.startswith("decoder.") and name in weights and weights[name].shape == tensor.shape
    }
    channels, M = 1, network.num_modalities
    for m, (prefix, encoder) in enumerate(encoders.items()):
        modality = m if isinstance(network, MultiEncoderUNet) else None
        conv = next(module for module in encoder.modules() if isinstance(module, encoder.conv_op))
        for name, tensor in encoder.state_dict(keep_vars=True).items():
            if ".modulation." in name:
                continue  # of conditional normalisations, which those models do not have
            source = f"encoder.{name}"
            weight = _present(source, weights, "take a U-Net like that of this dataset's plans")
            if tensor is conv.weight:
                channels = math.prod(weight.shape[1:2])
                weight = _stem(source, weight, tensor.detach(), M, modality)
            elif tensor is conv.bias and channels > 1 and modality is not None:
                weight = weight / M  # the encoders' stems add up to that model's
            fitted[prefix + name] = _fitting(source, weight, tensor)
    return _kind(channels, M, modality is not None), fitted


def _kind(channels: int, M: int, per_modality: bool) -> str:
    """Describe the model and the use of its stem, the first convolution, for the log."""
    if channels == 1:
        return f"a single-channel model, {'loaded into each encoder' if per_modality else 'its stem repeated'}"
    return f"a model of {M} channels{', its stem split' if per_modality else ''}"


def _stem(name: str, weight: Tensor, own: Tensor, M: int, modality: int | None) -> Tensor:
    """Return the weight of a first convolution; channels of a cascade's previous stage keep their initial values.

    Args:
        name: of the weight, for the message.
        weight: of the model, ``(C_out, 1 or M or more, *kernel)``.
        own: of the network, ``(C_out, 1 + extra or M + extra, *kernel)``.
        M: number of modalities.
        modality: of the convolution; None: all.
    """
    width = M if modality is None else 1
    if weight.shape != own.shape[:1] + weight.shape[1:2] + own.shape[2:]:
        raise _misfit(name, weight, own, _OTHER_PLANS)
    if weight.shape[1] not in {1, M, M + own.shape[1] - width}:
        raise _misfit(name, weight, own, f"take a model of one channel or of {M}")
    if weight.shape[1] == 1:
        part = weight.expand(-1, width, *own.shape[2:]) / width
    else:
        part = weight[:, :M] if modality is None else weight[:, modality : modality + 1]
    return torch.cat((part.to(own), own[:, width:]), 1)


def _under_names_of_unets(checkpoint: Mapping) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint; nnssl's prefixes become ``encoder.`` and ``decoder.``."""
    weights = checkpoint.get("network_weights")
    if not isinstance(weights, Mapping):
        raise InputError("it has no network_weights: take a checkpoint of nnU-Net or nnssl")
    weights = {name: tensor for name, tensor in weights.items() if isinstance(tensor, Tensor)}
    plan = checkpoint.get("nnssl_adaptation_plan")
    if not isinstance(plan, Mapping) or not isinstance(plan.get("key_to_encoder"), str):
        return weights
    encoder = plan["key_to_encoder"].removesuffix(".stages")
    decoder = ".".join([*encoder.split(".")[:-1], "decoder"])
    prefixes = {f"{plan.get('key_to_stem')}.": "encoder.stem.", f"{encoder}.": "encoder.", f"{decoder}.": "decoder."}
    if str(plan.get("key_to_stem")).startswith(plan["key_to_encoder"]):  # of a PlainConvUNet, whose first stage it is
        del prefixes[f"{plan['key_to_stem']}."]
    renamed = {}
    for name, tensor in weights.items():
        prefix = next((prefix for prefix in prefixes if name.startswith(prefix)), None)
        if prefix is not None:
            renamed[prefixes[prefix] + name.removeprefix(prefix)] = tensor
    return renamed


def _present(name: str, weights: Mapping[str, Tensor], remedy: str) -> Tensor:
    if name not in weights:
        raise InputError(f"it has no {name}: {remedy}")
    return weights[name]


def _fitting(name: str, weight: Tensor, own: Tensor) -> Tensor:
    if weight.shape != own.shape:
        raise _misfit(name, weight, own, _OTHER_PLANS)
    return weight


def _misfit(name: str, weight: Tensor, own: Tensor, remedy: str) -> InputError:
    return InputError(f"{name} is {format_size(weight.shape)} there and {format_size(own.shape)} here: {remedy}")
