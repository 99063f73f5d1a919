"""Dice, Hausdorff distance, and the tables made of them."""
