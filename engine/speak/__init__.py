"""Speaking: speech tokens to mel to wave."""
