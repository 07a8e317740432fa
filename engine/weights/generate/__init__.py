"""Model folders with random weights in the official formats. The entry is `antiphon.engine.weights.new_checkpoint`."""
