"""The speech tokenizer: an encoder whose codes must tell the phonemes, and the words through a context.

    log-mel ─encoder─▶ hidden ─codebook─▶ codes ─┬─ phones from the code alone: four labels of 20 ms each
                                                 └─ context (convolutions) ─┬─ the same labels
                                                                            └─ CTC over letters and characters

Losses and figures as in a trial: labels keep the codes phonetic where CTC alone lets
them collapse to words. The heads are for training only and are thrown away.
Source of the bottleneck: van den Oord et al. 2017 (arXiv 1711.00937), with exponential moving averages and restarts.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from antiphon.engine.hear.encoder import SpeechEncoder
from antiphon.engine.hear.features import LogMelExtractor
from antiphon.engine.hear.tokenizer import SpeechTokenizer
from antiphon.engine.units import MODEL_INPUT_RATE
from antiphon.engine.weights.configs import SpeechTokenizerConfig
from antiphon.engine.weights.generate.speech_tokenizer import sinusoids
from demo.recipe import augment
from demo.recipe.clips import ClipSet
from demo.recipe.data import Corpus
from demo.recipe.hearing import LABELS_PER_TOKEN, Heard, encoder_inputs, hear
from demo.recipe.scales import Scale, Steps
from demo.recipe.spelled import BLANK, alphabet, read_ctc, spell, word_error_rate, words
from demo.recipe.stage import Stage, freeze, train

_CONTEXT_DILATIONS: Final = (1, 2, 4, 1, 2)  # of the context's blocks: 1.6 s each way
_CONTEXT_KERNEL: Final = 5
_PLAIN_STEPS: Final = 400  # before the bottleneck is put in; less in short runs
_RESTART_EVERY: Final = 40
_RESTART_UNTIL: Final = 0.7  # of the steps
_DEAD: Final = 0.05  # of the mean use
_REMEMBERED: Final = 8  # batches that restarted codes are drawn from
_ASSISTANT_SHARE: Final = 0.3
_JOINED_SHARE: Final = 0.2
_EVALUATED: Final = 200  # clips


class ContextBlock(nn.Module):
    """What lies around each code: a depthwise convolution and a feed-forward, normed before and added."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.norm = nn.LayerNorm(width)
        self.taps = nn.Parameter(torch.randn(_CONTEXT_KERNEL, width) * _CONTEXT_KERNEL**-0.5)
        self.feed_forward = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(
        self,
        x: torch.Tensor,  # f[S, N, width], 0 past each clip's end
        within: torch.Tensor,  # bool[S, N, 1]: where clips are
    ) -> torch.Tensor:
        """f[S, N, width], 0 past each clip's end."""
        reach, length = self.dilation * (_CONTEXT_KERNEL // 2), x.shape[1]
        padded = F.pad(self.norm(x) * within, (0, 0, reach, reach))
        # Tap by tap: on a CPU a depthwise convolution's gradient takes several times as long.
        around = sum(padded[:, k * self.dilation :][:, :length] * tap for k, tap in enumerate(self.taps))
        mixed: torch.Tensor = x + self.feed_forward(around) * within
        return mixed


class RecognitionHeads(nn.Module):
    """What the codes are asked in training."""

    def __init__(self, width: int, phonemes: int) -> None:
        super().__init__()
        symbols = len(alphabet())
        self.from_code = nn.Sequential(nn.Linear(width, 256), nn.GELU(), nn.Linear(256, LABELS_PER_TOKEN * phonemes))
        self.context = nn.ModuleList(ContextBlock(width, dilation) for dilation in _CONTEXT_DILATIONS)
        self.norm = nn.LayerNorm(width)
        self.from_context = nn.Linear(width, LABELS_PER_TOKEN * phonemes)
        self.spelling = nn.Linear(width, LABELS_PER_TOKEN * symbols)
        self.symbols, self.phonemes = symbols, phonemes

    def forward(
        self,
        codes: torch.Tensor,  # f[ΣN, width]
        lengths: Sequence[int],  # tokens of each clip
    ) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
        """Phoneme scores by code and by context, f[ΣN · 4, phonemes] each; CTC scores f[4 N, symbols] by clip."""
        padded, within = pad(codes, lengths)
        for block in self.context:
            padded = block(padded, within[:, :, None])
        context = self.norm(padded[within])
        spelling = torch.split(self.spelling(context), list(lengths))
        return (
            self.from_code(codes).view(-1, self.phonemes),
            self.from_context(context).view(-1, self.phonemes),
            [rows.reshape(-1, self.symbols) for rows in spelling],
        )


class Bottleneck:
    """The codebook's own training: moving averages of what falls to each code, and restarts of idle ones."""

    def __init__(self, encoder: SpeechEncoder, steps: int) -> None:
        self._encoder = encoder
        self._decay = encoder.config.ema_decay or 0.0
        self._plain = min(_PLAIN_STEPS, steps // 5)
        self._restart_until = int(steps * _RESTART_UNTIL)
        self._remembered: list[torch.Tensor] = []

    def __call__(self, hidden: torch.Tensor, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(the codes in place of `hidden`, gradients straight through; the commitment loss). Learns as it goes."""
        self._remembered = [*self._remembered[-_REMEMBERED + 1 :], hidden.detach()]
        if step < self._plain:
            return hidden, hidden.new_zeros(())
        if step == self._plain:
            self._restart(torch.ones_like(self._encoder.get_buffer("ema_count"), dtype=torch.bool))
        ids = self._encoder.codebook.nearest(hidden)
        code = self._encoder.codebook.weight[ids]
        self._learn(hidden.detach(), ids)
        if step % _RESTART_EVERY == 0 and step < self._restart_until:
            count = self._encoder.get_buffer("ema_count")
            self._restart(count < _DEAD * count.mean())
        return hidden + (code - hidden).detach(), F.mse_loss(hidden, code)

    @torch.no_grad()
    def _learn(self, hidden: torch.Tensor, ids: torch.Tensor) -> None:
        count, total = self._encoder.get_buffer("ema_count"), self._encoder.get_buffer("ema_weight")
        count.mul_(self._decay).add_(torch.bincount(ids, minlength=len(count)), alpha=1 - self._decay)
        total.mul_(self._decay).index_add_(0, ids, hidden, alpha=1 - self._decay)
        self._encoder.codebook.weight.copy_(total / count.clamp(min=1e-4)[:, None])

    @torch.no_grad()
    def _restart(self, idle: torch.Tensor) -> None:
        """Put `idle` codes, bool[codes], where hidden vectors were lately."""
        where = idle.nonzero()[:, 0]
        seen = torch.cat(self._remembered)
        vectors = seen[torch.randint(len(seen), (len(where),), device=seen.device)]
        vectors = vectors + 0.01 * seen.std() * torch.randn_like(vectors)
        self._encoder.codebook.weight[where] = vectors
        self._encoder.get_buffer("ema_count")[where] = 0.1
        self._encoder.get_buffer("ema_weight")[where] = 0.1 * vectors


def new_encoder(config: SpeechTokenizerConfig) -> SpeechEncoder:
    """An untrained encoder, with Whisper's table of positions."""
    encoder = SpeechEncoder(config)
    with torch.no_grad():
        table = sinusoids(config.max_positions, config.d_model)
        encoder.embed_positions.weight.copy_(table)
        encoder.embed_positions2.weight.copy_(table[: len(encoder.embed_positions2.weight)])
    encoder.embed_positions2.requires_grad_(False)
    return encoder


def run(stage: Stage, corpus: Corpus, scale: Scale, seed: int, device: torch.device) -> None:
    """Train the tokenizer and measure how well its codes can be read."""
    torch.manual_seed(seed)
    encoder = new_encoder(scale.tokenizer_config).to(device)
    heads = RecognitionHeads(scale.tokenizer_config.d_model, len(corpus.phonemes)).to(device)
    extractor = LogMelExtractor(scale.tokenizer_config.mel_bins)
    bottleneck = Bottleneck(encoder, scale.tokenizer.steps)

    def loss(step: int) -> dict[str, torch.Tensor]:
        heard = draw_batch(corpus, scale.tokenizer, np.random.default_rng((seed, 10, step)))
        features, spans = encoder_inputs(extractor, heard)
        hidden, _ = encoder(features.to(device), spans)
        codes, commitment = bottleneck(hidden, step)
        losses = recognition_losses(heads, codes, heard)
        total = losses["phones"] + 0.5 * losses["context"] + 0.5 * losses["ctc"] + 0.5 * commitment
        return {"loss": total, **losses, "commitment": commitment}

    losses = train(stage, {"encoder": encoder, "heads": heads}, scale.tokenizer, loss, seed)
    tests = {
        f"wer_{name}": _error_rate(encoder, heads, extractor, clips)
        for name, (clips, _) in corpus.tests.items()
        if name in ("known", "voices", "open")
    }
    stage.finish(**losses, **tests, codes_used=int((encoder.get_buffer("ema_count") > 0.05).sum()))


def load(stage: Stage, scale: Scale, device: torch.device) -> SpeechTokenizer:
    """The trained tokenizer, frozen, behind the engine's own face."""
    state = stage.load()
    if state is None:
        raise FileNotFoundError(f"{stage.folder} holds no state.pt; run the stage {stage.name!r} first.")
    encoder = new_encoder(scale.tokenizer_config)
    # As it is shipped: rounded to fp16 before anything else is trained on its codes.
    encoder.load_state_dict({name: tensor.half().float() for name, tensor in state["encoder"].items()})
    freeze(encoder.to(device))
    return SpeechTokenizer(encoder)


def recognition_losses(heads: RecognitionHeads, codes: torch.Tensor, heard: Sequence[Heard]) -> dict[str, torch.Tensor]:
    """Cross-entropy of the labels from the code and from the context, and CTC by word."""
    lengths = [len(one.labels) // LABELS_PER_TOKEN for one in heard]
    from_code, from_context, spelling = heads(codes, lengths)
    labels = torch.from_numpy(np.concatenate([one.labels for one in heard])).to(codes.device)
    spoken = [(scores, one.text) for scores, one in zip(spelling, heard, strict=True) if one.text]
    return {
        "phones": F.cross_entropy(from_code, labels),
        "context": F.cross_entropy(from_context, labels),
        "ctc": ctc_by_word([scores for scores, _ in spoken], [text for _, text in spoken]),
    }


def ctc_by_word(scores: Sequence[torch.Tensor], texts: Sequence[str]) -> torch.Tensor:
    """The CTC loss of each text, divided by its words: the mean. `scores` f[T, symbols] of each."""
    lengths = [len(one) for one in scores]
    targets = [spell(text) for text in texts]
    counts = torch.tensor([max(1, len(words(text))) for text in texts])
    losses = F.ctc_loss(
        pad(torch.cat(list(scores)), lengths)[0].transpose(0, 1).log_softmax(dim=2),
        torch.tensor([symbol for target in targets for symbol in target]),
        torch.tensor(lengths),
        torch.tensor([len(target) for target in targets]),
        blank=BLANK,
        reduction="none",
        zero_infinity=True,
    )
    return (losses / counts.to(losses.device)).mean()


def pad(
    rows: torch.Tensor,  # f[ΣN, width]
    lengths: Sequence[int],
) -> tuple[torch.Tensor, torch.Tensor]:
    """(f[S, N, width] with 0 past each sequence's end, bool[S, N]: where the rows stand).

    `pad_sequence` does the same, but its gradient writes the whole tensor once for each sequence.
    """
    ends = torch.tensor(lengths, device=rows.device)[:, None]
    within = torch.arange(max(lengths), device=rows.device) < ends
    padded = rows.new_zeros(*within.shape, rows.shape[1])
    padded[within] = rows
    return padded, within


def draw_batch(corpus: Corpus, steps: Steps, random: np.random.Generator) -> list[Heard]:
    """Clips of users and of the assistant, some joined, augmented."""
    return [_draw(corpus, random) for _ in range(steps.batch)]


def _draw(corpus: Corpus, random: np.random.Generator) -> Heard:
    clips = corpus.assistant if random.random() < _ASSISTANT_SHARE else corpus.users
    first = clips[int(random.integers(len(clips)))]
    joined = [first]
    if random.random() < _JOINED_SHARE:
        joined.append(clips[int(random.integers(len(clips)))])
    heard = hear(joined, clips.rate, random, augment.FULL)
    known = not any(clip.line.speaker.is_foreign for clip in joined)
    return heard if known else Heard(heard.sound, heard.labels, "")


@torch.inference_mode()
def _error_rate(encoder: SpeechEncoder, heads: RecognitionHeads, extractor: LogMelExtractor, clips: ClipSet) -> float:
    """Words that CTC misses through the codes, on clips as they are."""
    random = np.random.default_rng(0)
    pairs = []
    for index in range(min(_EVALUATED, len(clips))):
        heard = hear([clips[index]], MODEL_INPUT_RATE, random, augment.NONE)
        features, spans = encoder_inputs(extractor, [heard])
        hidden, _ = encoder(features.to(encoder.conv1.weight.device), spans)
        codes = encoder.codebook.weight[encoder.codebook.nearest(hidden)]
        _, _, spelling = heads(codes, [len(codes)])
        pairs.append((read_ctc(spelling[0]), heard.text))
    return word_error_rate(pairs)
