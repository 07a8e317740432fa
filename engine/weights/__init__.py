"""Checkpoints: the official folders, read as data."""
