"""What is read of nnU-Net's folders and internals."""
