"""Layers that compute the same as PyTorch's and nnU-Net's, faster on a CPU."""
