"""How large and how long: all sizes of the recipe, as data."""

from dataclasses import dataclass, field
from typing import Final

from antiphon.engine.weights.configs import (
    DecoderConfig,
    FlowConfig,
    LanguageModelConfig,
    SpeechTokenizerConfig,
    VocoderConfig,
)

CODES: Final = 1_024
TEXT_RANKS: Final = 1_536
FIRST_SPEECH_ID: Final = TEXT_RANKS + 16  # right behind the control tokens
_VOCABULARY: Final = FIRST_SPEECH_ID + CODES + 16  # padded

TOKENIZER: Final = SpeechTokenizerConfig(
    d_model=160, heads=4, ffn=640, layers=3, codebook_size=CODES, block_frames=200, ema_decay=0.98
)
DECODER: Final = DecoderConfig(
    FlowConfig(
        vocab_size=CODES,
        input_size=192,
        encoder_size=192,
        encoder_heads=4,
        encoder_ffn=512,
        encoder_layers=3,
        estimator_channels=(192, 192),
        estimator_head_dim=48,
        estimator_heads=4,
        estimator_blocks=1,
        estimator_mid_blocks=1,
        dropout=0.0,  # it would blur mu, and there are more clips than it could learn by heart
    ),
    VocoderConfig(base_channels=64, f0_channels=64),
)
LANGUAGE_MODEL: Final = LanguageModelConfig(
    layers=4, hidden=256, heads=4, kv_heads=2, head_dim=64, ffn=512, vocab_size=_VOCABULARY, context=2_048
)


@dataclass(frozen=True)
class Steps:
    """One training run."""

    steps: int
    batch: int  # clips, crops or sequences of one step
    learning_rate: float
    warm_up: int = 100  # steps
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.01
    clip: float = 1.0  # of the gradient's norm


@dataclass(frozen=True)
class Scale:
    """How much of everything."""

    domain_clips: int  # questions by users
    open_clips: int  # open-vocabulary sentences by users
    assistant_open_clips: int  # the same by the assistant
    repeated_phrases: int
    test_clips: int  # of each test set
    copies: int  # augmented hearings of each question
    tokenizer: Steps
    f0: Steps
    vocoder: Steps
    flow: Steps
    flow_rounds: tuple[tuple[Steps, Steps], ...]  # mu by itself, then both toward the mean
    text_to_token: Steps
    pretraining: Steps
    fine_tuning: Steps
    judge: Steps
    interleaved_documents: int
    ablation_share: float = 0.08  # of the steps, for the arms with and without interleaving
    tokenizer_config: SpeechTokenizerConfig = field(default_factory=lambda: TOKENIZER)
    decoder_config: DecoderConfig = field(default_factory=lambda: DECODER)
    language_model_config: LanguageModelConfig = field(default_factory=lambda: LANGUAGE_MODEL)


FULL: Final = Scale(
    domain_clips=26_000,
    open_clips=14_000,
    assistant_open_clips=5_000,
    repeated_phrases=1_500,
    test_clips=400,
    copies=1,
    tokenizer=Steps(4_000, batch=24, learning_rate=1.2e-3, warm_up=200),
    f0=Steps(1_500, batch=16, learning_rate=1e-3, warm_up=50),
    vocoder=Steps(3_000, batch=8, learning_rate=1.5e-3, betas=(0.8, 0.99), clip=5.0),
    flow=Steps(3_171, batch=6, learning_rate=1.2e-3, warm_up=200),
    flow_rounds=(
        (Steps(2_200, batch=12, learning_rate=1.2e-3), Steps(900, batch=6, learning_rate=8e-4)),
        (Steps(2_000, batch=12, learning_rate=1e-3), Steps(400, batch=6, learning_rate=6e-4)),
    ),
    text_to_token=Steps(1_200, batch=24, learning_rate=1.5e-3),
    pretraining=Steps(3_000, batch=16, learning_rate=1.5e-3),
    fine_tuning=Steps(9_600, batch=8, learning_rate=1.5e-3, weight_decay=0.1),
    judge=Steps(6_500, batch=16, learning_rate=1.5e-3, warm_up=200),
    interleaved_documents=4_000,
)


def _short(steps: int, batch: int, learning_rate: float, clip: float = 1.0) -> Steps:
    return Steps(steps, batch, learning_rate, warm_up=5, clip=clip)


# Minutes on one core: whether every stage runs and learns, not whether the result speaks.
SMOKE: Final = Scale(
    domain_clips=300,
    open_clips=200,
    assistant_open_clips=40,
    repeated_phrases=20,
    test_clips=6,
    copies=1,
    tokenizer=_short(80, 8, 1.2e-3),
    f0=_short(80, 8, 1e-3),
    vocoder=_short(40, 4, 1.5e-3, clip=5.0),
    flow=_short(40, 4, 1.2e-3),
    flow_rounds=((_short(10, 4, 1.2e-3), _short(10, 4, 8e-4)),),
    text_to_token=_short(40, 8, 1.5e-3),
    pretraining=_short(40, 8, 1.5e-3),
    fine_tuning=_short(60, 8, 1.5e-3),
    judge=_short(60, 8, 1e-3),
    interleaved_documents=40,
)
SCALES: Final = {"full": FULL, "smoke": SMOKE}
