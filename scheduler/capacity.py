"""What a dialogue forgets when it outgrows the model's context."""

from collections.abc import Sequence


def turns_to_drop(
    turns: Sequence[int],  # ids of each turn, oldest first; the last is the one to be answered
    *,
    context: int,  # ids the model takes
    opening: int = 0,  # ids before the first turn, which always stay
    room: int = 1,  # ids an answer needs at least
) -> int:
    """How many of the oldest turns go, so that the rest is at most half of the context; 0 where all of it fits.

    Half, so that the rebuild is rare. The last turn always stays, even where it leaves less than half free. Raises
    ValueError when the opening and the last turn alone leave no room.
    """
    total = opening + sum(turns)
    if total + room <= context:
        return 0
    dropped = 0
    while dropped < len(turns) - 1 and (total > context // 2 or total + room > context):
        total -= turns[dropped]
        dropped += 1
    if total + room > context:
        raise ValueError(
            f"an opening of {opening} ids and a last turn of {total - opening} leave {context - total} of a context "
            f"of {context}; expected room for {room}"
        )
    return dropped
