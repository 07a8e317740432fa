"""Spoken clips on disk: what is to be said, by whom, and what espeak-ng made of it.

A set is a folder of shards. Each shard holds the samples of some hundred clips, one after another, and a phoneme label
for every 20 ms. A shard that is there is never made again, so an interrupted run goes on where it was.
"""

import json
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np

from antiphon.engine.hear.resample import resample
from demo.recipe.domain import spoken_form
from demo.recipe.espeak import RATE, Espeak, Utterance
from demo.recipe.voices import Language, Speaker

LABELS_PER_SECOND: Final = 50
PAUSE: Final = "_"  # the label of silence, and of what stands before the first phoneme
_SHARD: Final = 250  # clips
_TOKEN: Final = 8 / 100  # s: a clip fills whole speech tokens


@dataclass(frozen=True)
class Line:
    """One clip to be made."""

    text: str
    speaker: Speaker
    language: Language = "en"


@dataclass(frozen=True)
class Clip:
    """One clip that was made."""

    line: Line
    samples: np.ndarray  # i16[n], whole speech tokens long
    labels: np.ndarray  # i64[n / rate · 50]: phonemes, as numbered in the set


class ClipSet:
    """The clips of one folder, read from the disk as they are asked for."""

    def __init__(self, folder: Path, lines: Sequence[Line], rate: int) -> None:
        self.lines = lines
        self.rate = rate
        self._shards = [_Shard(folder, index) for index in range(_shard_count(len(lines)))]
        names = sorted({name for shard in self._shards for name in shard.names} - {PAUSE})
        self.phonemes = (PAUSE, *names)  # what a label means

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, index: int) -> Clip:
        shard = self._shards[index // _SHARD]
        samples, local = shard.clip(index % _SHARD)
        return Clip(self.lines[index], samples, self._numbers(shard)[local])

    def renumber(self, phonemes: Sequence[str]) -> None:
        """Number the labels by `phonemes`; what is not among them becomes a pause."""
        self.phonemes = tuple(phonemes)

    def _numbers(self, shard: "_Shard") -> np.ndarray:
        known = {name: number for number, name in enumerate(self.phonemes)}
        return np.array([known.get(name, 0) for name in shard.names], np.int64)


class _Shard:
    def __init__(self, folder: Path, index: int) -> None:
        self._audio = np.load(_path(folder, index, "audio"), mmap_mode="r")
        with np.load(_path(folder, index, "index", "npz")) as stored:
            self.names = [str(name) for name in stored["names"]]
            self._labels, self._samples_to, self._labels_to = (stored[key] for key in ("labels", "ends", "label_ends"))

    def clip(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """(i16 samples, u8 labels by the shard's own names)."""
        start, label_start = (int(ends[index - 1]) if index else 0 for ends in (self._samples_to, self._labels_to))
        samples = np.asarray(self._audio[start : self._samples_to[index]])
        return samples, self._labels[label_start : self._labels_to[index]]


def make_clips(
    folder: Path, lines: Sequence[Line], rate: int, workers: int, progress: Callable[[str], None]
) -> ClipSet:
    """Speak `lines` at `rate` Hz into `folder`, or take what is there. Raises ValueError where the folder holds others.

    Each worker is a process with an espeak-ng of its own; no workers: this process speaks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    plan = json.dumps([asdict(line) for line in lines], ensure_ascii=False)
    plan_file = folder / "lines.json"
    if not plan_file.exists():
        plan_file.write_text(plan)
    elif plan_file.read_text() != plan:  # never written twice: another run of the recipe may be reading it
        raise ValueError(f"{folder} holds clips of another plan; remove it, or give --work another folder.")
    missing = [i for i in range(_shard_count(len(lines))) if not _path(folder, i, "index", "npz").exists()]
    jobs = [(folder, i, list(lines[i * _SHARD : (i + 1) * _SHARD]), rate) for i in missing]
    if jobs and workers == 0:
        for job in jobs:
            _make_shard(job)
    elif jobs:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            for done, _ in enumerate(pool.map(_make_shard, jobs), start=1):
                progress(f"{folder.name}: {done} of {len(jobs)} shards of {_SHARD} clips")
    return ClipSet(folder, lines, rate)


def _make_shard(job: tuple[Path, int, list[Line], int]) -> None:
    folder, index, lines, rate = job
    espeak = Espeak()
    names: dict[str, int] = {PAUSE: 0}
    audio, labels = [], []
    for line in lines:
        speaker = line.speaker
        said = espeak.say(spoken_form(line.text), speaker.voice, speaker.speed, speaker.pitch, speaker.intonation)
        samples = _at_rate(said, rate)
        audio.append(samples)
        labels.append(_labels(said, len(samples) * LABELS_PER_SECOND // rate, names))
    with _path(folder, index, "audio").open("wb") as file:
        np.save(file, np.concatenate(audio))
    np.savez(
        _path(folder, index, "index", "npz"),  # last: its presence means that the shard is whole
        names=np.array(list(names)),
        labels=np.concatenate(labels),
        ends=np.cumsum([len(samples) for samples in audio]),
        label_ends=np.cumsum([len(one) for one in labels]),
    )


def _at_rate(said: Utterance, rate: int) -> np.ndarray:
    """i16 at `rate`, with silence up to a whole number of speech tokens."""
    samples = said.samples
    if rate != RATE:
        pcm = resample(samples.astype(np.float32) / np.float32(32_768), RATE, rate)
        samples = np.clip(np.round(pcm * 32_768), -32_768, 32_767).astype(np.int16)
    token = round(_TOKEN * rate)
    return np.pad(samples, (0, -len(samples) % token))


def _labels(said: Utterance, count: int, names: dict[str, int]) -> np.ndarray:
    """u8[count]: the phoneme at the middle of each 20 ms."""
    labels = np.zeros(count, np.uint8)
    starts = [phoneme.start for phoneme in said.phonemes]
    middles = (np.arange(count) + 0.5) * (RATE / LABELS_PER_SECOND)
    at = np.searchsorted(starts, middles, side="right") - 1
    for label, index in enumerate(at):
        if index >= 0:
            name = said.phonemes[index].name
            name = PAUSE if name.startswith(("_", "(")) else name
            labels[label] = names.setdefault(name, len(names))
    return labels


def _shard_count(lines: int) -> int:
    return -(-lines // _SHARD)


def _path(folder: Path, index: int, what: str, ending: str = "npy") -> Path:
    return folder / f"{index:04d}.{what}.{ending}"
