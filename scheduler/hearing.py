"""Whom audio is encoded for: what the planner orders the encoder's work by."""

from enum import IntEnum


class Hearing(IntEnum):
    """Why some audio waits for the encoder, the most urgent first. The core's `Hearing` has the same numbers."""

    COMMITTED = 0  # it belongs to a committed turn, whose answer waits for it
    CLOSED = 1  # its blocks are complete, and their caller speaks on
    GUESS = 2  # its block is open; the caller paused, so that the turn may be over
