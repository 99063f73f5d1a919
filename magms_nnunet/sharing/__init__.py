"""Models for others: zip files as nnU-Net writes them, with a manifest, and how to take one in that anybody made."""
