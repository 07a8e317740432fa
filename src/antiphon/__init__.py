"""Antiphon serves GLM-4-Voice: spoken dialogues, caller audio in, spoken answer out."""
