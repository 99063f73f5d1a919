"""The demonstration on a phantom."""
