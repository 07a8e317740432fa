"""The rates, hops and block lengths that GLM-4-Voice is built on, each named once with its unit.

Sources: zai-org/GLM-4-Voice (speech_tokenizer/utils.py, flow_inference.py, web_demo.py) and the published configs.
What a checkpoint's own config states is read from there (`engine/weights/configs.py`) and checked against these.
"""

from fractions import Fraction
from typing import Final

# Hearing: the caller's audio as the speech tokenizer takes it.
MODEL_INPUT_RATE: Final = 16_000  # Hz
SEGMENT_SECONDS: Final = 30  # audio is cut into segments of this length
SEGMENT_SAMPLES: Final = SEGMENT_SECONDS * MODEL_INPUT_RATE
LOG_MEL_HOP: Final = 160  # samples at 16 kHz between log-mel frames: 100 frames/s
LOG_MEL_WINDOW: Final = 400  # samples: n_fft and the Hann window
SAMPLES_PER_SPEECH_TOKEN: Final = 1_280  # 160 samples · stride 2 · pooling 4: 12.5 tokens/s
SPEECH_TOKEN_RATE: Final = Fraction(MODEL_INPUT_RATE, SAMPLES_PER_SPEECH_TOKEN)  # 12.5 Hz

# Thinking: the template of the interleaved answer.
TEXT_TOKENS_PER_BLOCK: Final = 13
SPEECH_TOKENS_PER_BLOCK: Final = 26

# Speaking: the mel the flow makes and the wave the vocoder makes of it.
OUTPUT_RATE: Final = 22_050  # Hz
OUTPUT_HOP: Final = 256  # wave samples per mel frame
MEL_FRAME_RATE: Final = Fraction(OUTPUT_RATE, OUTPUT_HOP)  # 86.13 frames/s
MEL_BINS: Final = 80
