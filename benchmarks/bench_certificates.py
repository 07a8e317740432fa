"""How often a certificate fails on real inputs, and what the path behind it costs.

    python -m benchmarks.bench_certificates [--model demo/checkpoint] [--device cpu] [--runs 5]

Two operations decide most rows by a cheap pass that knows when it does not know, and search the others whole:

vq_nearest  tensor cores bound every distance; a row is decided where the bounds leave one group of eight codes, and
            otherwise more groups are measured. Real vectors are what the model's speech encoder makes of the
            recordings in demo/clips before the codebook. Synthetic ones, and called so, are of the published size,
            16,384 codes of 1,280, from a seeded normal distribution: half a standard deviation from a code, and
            anywhere.
sample      each tile of logits sends its few highest on; a row is decided where these hold its whole nucleus. Real
            logits are the model's own along answers that it gives to those recordings, at the service's defaults
            (temperature 0.2, top-p 0.8) and at 1.0 and 0.95.

On CUDA the kernels count, and the kernels are timed. On the CPU the counts are made again as a card would make them:
factors cut to TF32 explicitly, since Triton's interpreter multiplies in float32, and rows cut into the card's tiles
(`certificates.py`). What is timed there is the torch reference, in the processor's time, which other work on the
machine does not lengthen: on rows that are decided, on rows that are not, and for vectors without any certificate, as
one product and its arg-min. Sampling's reference has a limit of its own, the highest 1,024: its rows are parted by it.
Where no row of an input falls back, rows that were made to are timed, and the row says so. Appends to
results/certificates.csv.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import torch

import antiphon
from antiphon.engine.hear.codec import read_audio
from antiphon.engine.weights.folders import LANGUAGE_MODEL_FOLDER, TOKENIZER_FOLDER
from antiphon.kernels.sample import sample
from antiphon.kernels.vq_nearest import vq_nearest
from benchmarks.certificates import CARD, candidates_decide, groups_measured, nucleus_sorted
from benchmarks.gpu_timing import Stopwatch
from benchmarks.harness import RESULTS, Spread, append_rows, environment

CLIPS: Final = Path("demo/clips")
_CODES, _WIDTH = 16_384, 1_280
_SETTINGS: Final = ((0.2, 0.8), (1.0, 0.95))  # temperature and top-p: the service's defaults, and wider ones
_WARM_UPS: Final = 1


@dataclass(frozen=True)
class Input:
    """What one operation is given, and which rows of it the certificate leaves undecided."""

    operation: str
    data: str  # "real" or "synthetic", and of what
    size: str
    undecided: torch.Tensor  # bool[N], as a card's kernel counts
    counted_by: str  # "kernel", or "emulated"
    reference_undecided: torch.Tensor | None  # bool[N], as the reference counts, where it has a limit of its own
    rows: torch.Tensor  # f32[N, …]
    forced: Callable[[torch.Tensor], torch.Tensor]  # rows made of others, which must fall back
    run: Callable[[torch.Tensor], object]
    unchecked: Callable[[torch.Tensor], object] | None  # the same without a certificate
    note: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Count, time, print, append the rows."""
    options = _options(arguments)
    device = torch.device(options.device)
    rows = []
    with torch.inference_mode():
        for given in _inputs(options, device):
            row = {**environment(device), **_row(given, options.batch, options.runs, device)}
            print(
                f"{given.operation:10} {given.data:44.44} {row['rows']:6} rows, {row['fallback_share']:8} fall back; "
                f"{row['decided_p50_us']:>10} and {row['fallback_p50_us']:>10} µs for {options.batch}"
            )
            rows.append(row)
    append_rows(options.results, rows)
    print(f"appended {len(rows)} rows to {options.results}", file=sys.stderr)
    return 0


def _inputs(options: argparse.Namespace, device: torch.device) -> Iterator[Input]:
    """One after another: the synthetic codebook alone is 84 MB."""
    hearing = _tokenizer(options.model, device)
    paths = [path for path in sorted(CLIPS.rglob("*")) if path.suffix in (".wav", ".flac")]
    clips = [read_audio(path) for path in paths[: options.clips]]
    vectors = [torch.from_numpy(hearing.hidden(*clip)).to(device) for clip in clips]
    codebook = hearing.encoder.codebook.weight.detach().float()
    encoder = f"the encoder of {options.model}"
    yield _vectors(f"real: {len(clips)} recordings by {encoder}", torch.cat(vectors), codebook)
    if options.synthetic:
        drawn = torch.Generator().manual_seed(0)
        codebook = torch.randn(_CODES, _WIDTH, generator=drawn).to(device)
        anywhere = torch.randn(options.synthetic, _WIDTH, generator=drawn).to(device)
        yield _vectors(
            "synthetic: normal, half a deviation from a code", codebook[: len(anywhere)] + 0.5 * anywhere, codebook
        )
        yield _vectors("synthetic: normal, anywhere", anywhere, codebook)
    folder = options.model / LANGUAGE_MODEL_FOLDER
    if not folder.is_dir():
        print(f"{folder} is not there: no logits.", file=sys.stderr)
        return
    model = antiphon.LanguageModel.load(folder, device)
    # Its own tokenizer's codes, whichever encoder made the vectors.
    heard = _tokenizer(options.model, device).encode_batch(clips)
    for temperature, top_p in _SETTINGS:
        answers = [_answer_logits(model, codes, options.tokens, temperature, top_p) for codes in heard]
        yield _logits(
            f"real: {len(clips)} answers of {options.model}", torch.cat(answers).to(device), temperature, top_p
        )


def _vectors(data: str, x: torch.Tensor, codebook: torch.Tensor) -> Input:
    if x.device.type == "cuda":
        from antiphon.kernels.vq_nearest.kernel import search

        measured, counted_by = search(x, codebook)[1].long(), "kernel"
    else:
        measured, counted_by = groups_measured(x, codebook), "emulated"
    return Input(
        "vq_nearest",
        data,
        f"{len(codebook):,} codes of {x.shape[1]:,}",
        measured > 1,
        counted_by,
        None,
        x,
        partial(_between_codes, codebook),
        partial(vq_nearest, codebook=codebook),
        partial(_nearest_unchecked, codebook=codebook),
        f"groups of eight measured: mean {measured.float().mean():.2f}, most {int(measured.max())}",
    )


def _between_codes(codebook: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """As many vectors, each halfway between two codes of different groups."""
    place = torch.arange(len(x), device=x.device) % (len(codebook) // 2)
    return (codebook[place] + codebook[place + len(codebook) // 2]) / 2


def _nearest_unchecked(x: torch.Tensor, codebook: torch.Tensor) -> torch.Tensor:
    return torch.addmm(codebook.square().sum(dim=1), x, codebook.t(), alpha=-2.0).argmin(dim=1)


def _logits(data: str, logits: torch.Tensor, temperature: float, top_p: float) -> Input:
    run = partial(_sampled, temperature=temperature, top_p=top_p)
    if logits.device.type == "cuda":
        from antiphon.kernels.sample.kernel import choose

        undecided, counted_by = (
            choose(logits, *_columns(len(logits), temperature, top_p, logits.device))[1] > 0,
            "kernel",
        )
    else:
        undecided, counted_by = ~candidates_decide(logits, temperature, top_p), "emulated"
    probabilities = torch.softmax(logits.double() / temperature, 1).sort(1, descending=True).values.cumsum(1)
    nucleus = 1 + (probabilities < top_p).sum(1)
    return Input(
        "sample",
        data,
        f"{logits.shape[1]:,} logits, temperature {temperature:g}, top-p {top_p:g}",
        undecided,
        counted_by,
        ~nucleus_sorted(logits, temperature, top_p),
        logits,
        lambda rows: rows * 1e-3 * temperature,  # nearly flat: the nucleus is nearly all
        run,
        None,
        f"ids in the nucleus: median {int(nucleus.median())}, most {int(nucleus.max())}; "
        f"tiles of {CARD.tile} send {CARD.candidates}",
    )


def _sampled(logits: torch.Tensor, temperature: float, top_p: float) -> torch.Tensor:
    return sample(logits, *_columns(len(logits), temperature, top_p, logits.device))


def _columns(rows: int, temperature: float, top_p: float, device: torch.device) -> tuple[torch.Tensor, ...]:
    return (
        torch.full((rows,), temperature, device=device),
        torch.zeros(rows, dtype=torch.int32, device=device),
        torch.full((rows,), top_p, device=device),
        torch.arange(rows, device=device),
        torch.arange(rows, device=device),
    )


def _answer_logits(
    model: antiphon.LanguageModel, codes: Sequence[int], tokens: int, temperature: float, top_p: float
) -> torch.Tensor:
    """f32[tokens or fewer, V]: what each id of an answer was drawn from."""
    prompt = model.chat_prompt([list(codes)])
    answer = model.generate(prompt, tokens, temperature, top_p, seed=0)
    return torch.from_numpy(model.logits([*prompt, *answer[:-1]])[len(prompt) - 1 :])


def _row(given: Input, batch: int, runs: int, device: torch.device) -> dict[str, object]:
    """Shares, and both paths' times for `batch` rows."""
    on_card = device.type == "cuda"
    reference = given.undecided if on_card or given.reference_undecided is None else given.reference_undecided
    decided, fallen = given.rows[~reference], given.rows[reference]
    is_forced = len(fallen) == 0
    fallen = given.forced(given.rows) if is_forced else fallen
    timed = {
        "decided": _spread(partial(given.run, _filled(decided, batch)), runs, device) if len(decided) else None,
        "fallback": _spread(partial(given.run, _filled(fallen, batch)), runs, device),
    }
    unchecked = given.unchecked
    return {
        "operation": given.operation,
        "data": given.data,
        "size": given.size,
        "rows": len(given.rows),
        "fallback_share": round(float(given.undecided.float().mean()), 4),
        "counted_by": given.counted_by,
        "reference_share": ""
        if given.reference_undecided is None
        else round(float(given.reference_undecided.float().mean()), 4),
        "note": given.note,
        "timed": "kernel" if on_card else "torch reference, processor time",
        "batch": batch,
        "fallback_rows": "made to" if is_forced else "the input's",
        **{
            f"{path}_{name}_us": "" if spread is None else round(getattr(spread, name) * 1e6, 1)
            for path, spread in timed.items()
            for name in ("p20", "p50", "p80")
        },
        "unchecked_p50_us": ""
        if unchecked is None
        else round(_spread(partial(unchecked, _filled(given.rows, batch)), runs, device).p50 * 1e6, 1),
    }


def _filled(rows: torch.Tensor, batch: int) -> torch.Tensor:
    """As many rows, over and over."""
    return rows[torch.arange(batch, device=rows.device) % len(rows)]


def _spread(run: Callable[[], object], runs: int, device: torch.device) -> Spread:
    if device.type == "cuda":
        return Stopwatch(device, runs).time(run).seconds
    seconds = []
    for _ in range(_WARM_UPS + runs):
        begun = time.process_time()
        run()
        seconds.append(time.process_time() - begun)
    return Spread.of(seconds[_WARM_UPS:])


def _tokenizer(model: Path, device: torch.device) -> antiphon.SpeechTokenizer:
    return antiphon.SpeechTokenizer.load(model / TOKENIZER_FOLDER, device)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Shares of rows whose certificate fails, and both paths' times.")
    parser.add_argument("--model", type=Path, default=Path("demo/checkpoint"), help="default: %(default)s")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clips", type=int, default=25, help="recordings, at most (default: %(default)s)")
    parser.add_argument("--tokens", type=int, default=64, help="of an answer, at most (default: %(default)s)")
    parser.add_argument("--synthetic", type=int, default=256, help="vectors; 0: none (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=50, help="rows of a timed call (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="timed calls of each (default: %(default)s)")
    parser.add_argument("--results", type=Path, default=RESULTS / "certificates.csv")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
