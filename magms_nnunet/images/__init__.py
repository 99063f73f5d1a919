"""The files of a case: found, read and checked."""
