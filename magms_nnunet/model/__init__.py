"""The folder of a trained model: read, checked, loaded, exported and imported."""
