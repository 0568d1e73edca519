"""Samplers and searches, one file each."""
