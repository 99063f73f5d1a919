"""The interface to nnU-Net's folders and internals."""
