"""Search problems, one file each."""
