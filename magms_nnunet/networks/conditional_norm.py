"""Instance normalisation whose scale and shift depend on the modalities of a sample and on what it removes."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from magms_nnunet.cpu.instance_norm import InstanceNorm, instance_norm


class Condition:
    """What the normalisations of one network know about the samples of a pass.

    Attributes:
        absent: ``(B, M)``, 1 for each absent modality. None: all samples are complete.
    """

    absent: Tensor | None = None

    def tell(self, available: Tensor) -> None:
        """Set the samples of the next pass.

        Args:
            available: bool ``(B, M)``.
        """
        self.absent = (~available).float()


class ConditionalInstanceNorm(InstanceNorm):
    """Instance normalisation with a scale and a shift per sample.

    One network for all subsets has to compromise between them. Telling each normalisation which modalities a sample
    lacks lets every subset use the channels in its own way (conditional instance normalisation: Dumoulin et al. 2017,
    arXiv 1610.07629). Instance normalisation also removes the mean of each channel, which says how much of something
    there is in the patch; that is given back (squeeze and excitation: Hu et al. 2018, arXiv 1709.01507):

        scale, shift = weight, bias + W [absent modalities, normalised means of the channels]

    W adds a term for each absent modality and none for a subset as a whole, so that a subset that training seldom
    shows, such as all modalities where most cases lack some, gets the sum of terms that were trained.

    :func:`make_conditional` makes it of a layer of the plans' network.

    Attributes:
        condition: of the network.
        modulation: holds W, ``(2 C, M + C)``, which is 0 at first.
    """

    condition: Condition
    modulation: nn.Linear

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x``, ``(B, C, *spatial)``; without gradients a channels-last ``x`` is overwritten.

        Raises:
            ValueError: ``x`` has another number of dimensions.
        """
        self._check_input_dim(x)
        with torch.autocast(x.device.type, enabled=False):
            # not x.mean, whose gradient is a tensor of the size of x
            means = x.sum(tuple(range(2, x.ndim)), dtype=self.weight.dtype) / x[0, 0].numel()
            absent = self.condition.absent
            if absent is None:
                absent = means.new_zeros(len(x), self.modulation.in_features - self.num_features)
            known = torch.cat((absent.to(means), F.layer_norm(means, means.shape[1:])), 1)
            scale, shift = self.modulation(known).chunk(2, 1)
        return instance_norm(x, self.weight + scale, self.bias + shift, self.eps)


class ConditionalInstanceNorm2d(ConditionalInstanceNorm, nn.InstanceNorm2d):
    """:class:`ConditionalInstanceNorm` of slices."""


class ConditionalInstanceNorm3d(ConditionalInstanceNorm, nn.InstanceNorm3d):
    """:class:`ConditionalInstanceNorm` of volumes."""


def make_conditional(network: nn.Module, num_modalities: int) -> Condition:
    """Make the instance normalisations of a network conditional, and return what tells them about the samples.

    Their weights and the names of these stay. Layers without weights and other normalisations stay what they are.

    Args:
        network: made of nnU-Net's parts.
        num_modalities: M.
    """
    condition = Condition()
    for layer in list(network.modules()):
        if isinstance(layer, nn.InstanceNorm2d | nn.InstanceNorm3d) and layer.affine and not layer.track_running_stats:
            modulation = nn.Linear(num_modalities + layer.num_features, 2 * layer.num_features, bias=False)
            nn.init.zeros_(modulation.weight)
            slices = isinstance(layer, nn.InstanceNorm2d)
            layer.__class__ = ConditionalInstanceNorm2d if slices else ConditionalInstanceNorm3d
            layer.modulation = modulation
            vars(layer)["condition"] = condition  # no part of the layer, all of the network have it
    return condition
