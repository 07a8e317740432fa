"""The judge: a recogniser that has nothing in common with the speech tokenizer.

Other features (64 mel bins every 12.5 ms), another architecture (convolutions and a bidirectional GRU under CTC), and
real espeak-ng audio alone to learn from. What it hears in the model's speech is what a listener might; its own error on
originals stands beside every figure.
"""
