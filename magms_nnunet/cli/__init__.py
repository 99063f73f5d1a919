"""The commands. They import what needs numpy or torch when they run, so that ``--help`` answers at once."""
