"""Whose waiting audio the encoder takes next.

1. One pass encodes audio of one kind, the most urgent that waits: first that of committed turns, then blocks that were
   closed while their caller speaks on; a guess at an open block only where nothing else waits. A pass takes as long as
   all that is in it, so what is less urgent would make the answers late that wait for the rest.
2. Of one kind, who has waited longest goes first. Of committed turns that is whose first audio is due first.
3. A pass keeps to a bounded number of seconds and frames; the first in order goes whatever it costs.
"""

from collections.abc import Sequence

from antiphon.scheduler.reference.dialogue import Dialogue
from antiphon.scheduler.reference.within import within
from antiphon.scheduler.settings import Costs, Settings


def plan_encodes(dialogues: Sequence[Dialogue], settings: Settings, costs: Costs) -> list[Dialogue]:
    """The dialogues of the next encoder pass, in order."""
    for dialogue in dialogues:
        dialogue.encode_planned = False
    waiting = [dialogue for dialogue in dialogues if dialogue.encode_frames > 0]
    most_urgent = min((dialogue.hearing for dialogue in waiting), default=None)
    rows, _ = within(
        settings.encode_seconds,
        settings.max_encodes,
        sorted(
            (dialogue for dialogue in waiting if dialogue.hearing == most_urgent),
            key=lambda dialogue: (dialogue.encode_since, dialogue.number),
        ),
        lambda dialogue: costs.encode_frame * dialogue.encode_frames,
        lambda dialogue: dialogue.encode_frames,
        settings.max_encode_frames,
    )
    for dialogue in rows:
        dialogue.encode_planned = True
    return rows
