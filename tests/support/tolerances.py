"""The one table of tolerances: largest absolute difference allowed, in float32, with its reason.

The figures are those measured on the official modules (rerun with 1 and 2 threads, other attention path, fp32 against
fp64) with head-room of about ten; tests/parity/data/README.md holds the measurement.
"""

TOLERANCE = {
    "log-mel": 1e-4,  # the official extractor's torch and numpy paths differ by 4.6e-5
    "resampled": 1e-5,  # one float32 dot product of at most 500 taps on samples in [-1, 1]
    "tokenizer-hidden": 1e-4,  # fp32 vs fp64 8.6e-6 at std 2.2
    "tokenizer-hidden-bfloat16": 0.5,  # the official model's own distance from its float32 is 0.26
    "logits": 2e-4,  # fp32 vs fp64 1.2e-5, eager vs sdpa 1.1e-5, at std 2.55
    "lm-hidden": 2e-4,  # the logits' tolerance, one layer earlier
    "lm-batched": 2e-5,  # hidden states in other company or chunks: matrix products round by shape, 6e-6 seen in logits
    "logits-bfloat16": 0.4,  # the official model's own distance from its float32 is 0.19 on the parity prompts
    "mu": 5e-5,  # encoder output and conditioning: fp32 vs fp64 2.3e-6
    "mel": 1e-4,  # ten Euler steps: fp32 vs fp64 4.6e-6
    "velocity": 1e-4,  # one estimator call, the mel's tolerance
    "flow-batch": 2e-5,  # a batch against its members: matrix products round by their number of rows, about 2e-6 seen
    "f0": 5e-3,  # Hz: fp32 vs fp64 2.6e-4 at std 30
    "wave-from-tokens": 5e-5,  # source injected; rerun 3.1e-7
    "wave-from-mel": 2e-5,  # mel and source injected; fp32 vs fp64 3.8e-7
    "vocoder-batch": 1e-6,  # a batch against its members, each computed alone: no difference seen
    "wave-in-pieces": 1e-5,  # convolutions round by their length: 6e-7 seen in 5 minutes, 4e-6 where the wave clips
    "wave-ahead-of-its-mel": 1e-4,  # 7 of the 19 frames looked ahead to are provisional: ≤ 1e-4 measured near joins
    "sine": 1e-4,  # phase summed in float64 here, in double from float32 terms there
    "voice-activity": 1e-5,  # ONNX Runtime may pick another matrix kernel for another number of rows; 0 seen on x86
    # One dialogue's wave beside other dialogues: the mel moves by 2e-6 (matrix products round by shape), F0 with it by
    # 1e-4 Hz, and the source's phase adds that up over the chunk; two official runs of one turn differ by 1.7e-4.
    "wave-in-company": 1e-3,
}
