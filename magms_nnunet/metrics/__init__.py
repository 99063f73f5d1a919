"""Dice, Hausdorff distance, and tables of both."""
