"""Hearing: caller audio to speech tokens."""
