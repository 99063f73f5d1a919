"""A linear estimate of absent modalities from those that a sample has, voxel by voxel."""

import torch
import torch.distributed as dist
from torch import Tensor, nn


class LinearEstimate(nn.Module):
    """Puts into the channel of an absent modality its best linear estimate from the available ones.

    With zeros in their place, every subset gives the first convolution another kind of input, and a small network has
    to learn each of them. The estimate keeps the input close to that of complete samples:

        x[absent] = C[absent, S] C[S, S]^-1 x[S],    C[i, j] = mean of x[i] x[j] over the voxels

    C is learned in training, from the samples that have both modalities, as a mean of the first 200 batches and a
    moving average afterwards; :meth:`complete` fills in those of two modalities that no sample has together. Before the
    first batch the estimate is 0. Where all available modalities are 0 (the background) it is 0, too. Available
    modalities pass unchanged.

    Args:
        num_modalities: M.
    """

    moments: Tensor
    batches: Tensor

    _STRIDE = 4  # every fourth voxel gives the moments
    _BATCHES = 200
    _RIDGE = 1e-2  # of the mean variance, so that two modalities that are nearly equal do not make huge factors

    def __init__(self, num_modalities: int):
        super().__init__()
        self.register_buffer("moments", torch.zeros(num_modalities, num_modalities))
        self.register_buffer("batches", torch.zeros(num_modalities, num_modalities))

    def forward(self, x: Tensor, available: Tensor) -> Tensor:
        """Return the images with estimates, ``(B, M + extra, *spatial)``; in training also learn from them.

        Args:
            x: ``(B, M + extra, *spatial)`` with 0 in place of absent modalities; ``extra`` channels stay as they are.
            available: bool ``(B, M)``.
        """
        M = available.shape[1]
        available = available.to(x.device)
        images = x[:, :M]
        with torch.autocast(x.device.type, enabled=False):  # sums over voxels exceed the range of float16
            if self.training:
                self._learn(images, available)
            estimate = torch.einsum("bij,bjv->biv", self._factors(available).to(x.dtype), images.flatten(2))
        mask = available.view(*available.shape, *[1] * (x.ndim - 2))
        return torch.cat((torch.where(mask, images, estimate.view_as(images)), x[:, M:]), 1)

    @torch.no_grad()
    def complete(self) -> None:
        """Fill in the moments of two modalities that no sample has together, for the subsets that hold both.

        Zeros would contradict the other moments, and the estimates from such a subset could be many times too large.
        The two are taken to be independent given the other modalities, which is the solution of largest determinant
        (Dempster 1972, covariance selection). It is found from independent modalities on, whose products rise to
        their share of the moments; where these contradict each other, it ends below them.
        """
        M, unseen = len(self.moments), (self.batches == 0).cpu()
        pairs = unseen.triu(1).nonzero().tolist()
        if not pairs:
            return
        ridge = torch.eye(M, dtype=torch.double) * self._ridge().item()
        C = self.moments.double().cpu() + ridge
        independent = torch.diag(C.diagonal())
        found, share, step = independent, 0.0, 0.25
        while share < 1 and step > 1e-3:
            candidate = torch.where(unseen, found, independent.lerp(C, share + step))
            if torch.linalg.cholesky_ex(candidate).info:
                step /= 2
                continue
            found, share = candidate, share + step
            for i, j in pairs * 3:
                others = [m for m in range(M) if m not in (i, j)]
                factors = torch.linalg.solve(found[others][:, others], found[others, j])
                found[i, j] = found[j, i] = found[i, others] @ factors
        self.moments.copy_(found - ridge)

    def _ridge(self) -> Tensor:
        return self._RIDGE * self.moments.diagonal().mean() + 1e-6

    @torch.no_grad()
    def _learn(self, images: Tensor, available: Tensor) -> None:
        voxels = images.flatten(2)[:, :, :: self._STRIDE].float()
        products = torch.einsum("biv,bjv->ij", voxels, voxels).float() / voxels.shape[2]
        pairs = (available[:, :, None] & available[:, None, :]).sum(0).float()
        if dist.is_available() and dist.is_initialized():  # every process keeps the moments of all samples
            both = torch.stack((products, pairs))
            dist.all_reduce(both)
            products, pairs = both
        rate = 1 / (self.batches + 1).clamp(max=self._BATCHES)
        seen = pairs > 0
        self.moments.copy_(torch.where(seen, self.moments.lerp(products / pairs.clamp(min=1), rate), self.moments))
        self.batches += seen

    def _factors(self, available: Tensor) -> Tensor:
        """Return ``(B, M, M)``: what each available modality, a column, contributes to each modality, a row."""
        has = available.float()
        C = self.moments + torch.diag_embed(self._ridge().expand(has.shape[1]))
        among_available = C * has[:, :, None] * has[:, None, :] + torch.diag_embed(1 - has)
        return torch.linalg.solve(among_available, C * has[:, :, None]).mT
