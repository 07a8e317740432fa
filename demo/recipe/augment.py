"""What happens to a voice on its way: level, colour, room, noise, silence before it, and the telephone."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from antiphon.engine.hear.resample import resample
from antiphon.engine.units import MODEL_INPUT_RATE

_TELEPHONE_RATE: Final = 8_000  # Hz
_TELEPHONE_BAND: Final = (300.0, 3_400.0)  # Hz
_MU: Final = 255.0


@dataclass(frozen=True)
class Strength:
    """How often each thing happens; 0 leaves a clip as it is."""

    tilt: float = 0.5
    reverb: float = 0.3
    noise: float = 0.6
    telephone: float = 0.2
    most_silence: float = 0.6  # s before the clip


FULL: Final = Strength()
NONE: Final = Strength(0.0, 0.0, 0.0, 0.0, 0.0)


def augmented(
    samples: np.ndarray,  # i16[n] at 16 kHz
    random: np.random.Generator,
    strength: Strength = FULL,
) -> tuple[np.ndarray, int]:
    """(f32[m] in [-1, 1], samples of silence put before it: whole 20 ms)."""
    sound = samples.astype(np.float32) / 32_768
    if random.random() < strength.tilt:
        sound = _tilted(sound, float(random.uniform(-6.0, 6.0)))
    if random.random() < strength.reverb:
        sound = _reverberant(sound, random)
    lead = int(random.integers(0, int(strength.most_silence * 50) + 1)) * (MODEL_INPUT_RATE // 50)
    sound = np.concatenate([np.zeros(lead, np.float32), sound])
    if random.random() < strength.noise:
        sound = _noisy(sound, random, float(random.uniform(10.0, 40.0)))
    if random.random() < strength.telephone:
        sound = telephone(sound)
    if strength is not NONE:
        level = float(10 ** random.uniform(-1.2, -0.1))
        sound = sound * (level / max(float(np.abs(sound).max()), 1e-4))
    return sound.astype(np.float32), lead


def telephone(sound: np.ndarray) -> np.ndarray:
    """f32[n] at 16 kHz as it comes out of an 8 kHz µ-law call, of the same length."""
    narrow = resample(telephone_band(sound, MODEL_INPUT_RATE), MODEL_INPUT_RATE, _TELEPHONE_RATE)
    narrow = np.clip(narrow, -1.0, 1.0)
    companded = np.sign(narrow) * np.log1p(_MU * np.abs(narrow)) / np.log1p(_MU)
    companded = np.round(companded * 127) / 127
    expanded = np.sign(companded) * np.expm1(np.abs(companded) * np.log1p(_MU)) / _MU
    wide = resample(expanded.astype(np.float32), _TELEPHONE_RATE, MODEL_INPUT_RATE)
    padded: np.ndarray = np.pad(wide, (0, max(0, len(sound) - len(wide))))
    return padded[: len(sound)]


def telephone_band(
    sound: np.ndarray,  # f32[n]
    rate: int,
) -> np.ndarray:
    """f32[n] of what a telephone network passes: 300 to 3,400 Hz (ITU-T G.712)."""
    low, high = _TELEPHONE_BAND
    spectrum = np.fft.rfft(sound)
    frequencies = np.fft.rfftfreq(len(sound), 1 / rate)
    spectrum[(frequencies < low) | (frequencies > high)] = 0
    kept: np.ndarray = np.fft.irfft(spectrum, len(sound)).astype(np.float32)
    return kept


def silence(seconds: float) -> np.ndarray:
    """f32 zeros at 16 kHz."""
    return np.zeros(int(seconds * MODEL_INPUT_RATE), np.float32)


def noise(seconds: float, random: np.random.Generator) -> np.ndarray:
    """Coloured noise at a random level."""
    hiss = _coloured(int(seconds * MODEL_INPUT_RATE), random)
    return (hiss * 10 ** random.uniform(-3.0, -0.7)).astype(np.float32)


def tones(seconds: float, random: np.random.Generator) -> np.ndarray:
    """Chords of plucked tones, one to four a second: music-like, and no speech."""
    t = np.arange(int(seconds * MODEL_INPUT_RATE)) / MODEL_INPUT_RATE
    beat = float(random.uniform(0.25, 1.0))
    sound = np.zeros_like(t)
    for onset in np.arange(0.0, seconds, beat):
        since = np.clip(t - onset, 0.0, None)
        envelope = np.where(t >= onset, np.exp(-since * random.uniform(1.0, 6.0)), 0.0)
        for _ in range(int(random.integers(1, 4))):
            pitch = 110.0 * 2 ** (float(random.integers(0, 36)) / 12)
            sound += envelope * sum(np.sin(2 * np.pi * pitch * h * since) / h**1.5 for h in range(1, 5))
    music: np.ndarray = sound / max(1e-4, np.abs(sound).max()) * random.uniform(0.1, 0.8)
    return music.astype(np.float32)


def _tilted(sound: np.ndarray, decibels_per_octave: float) -> np.ndarray:
    spectrum = np.fft.rfft(sound)
    octaves = np.log2(np.maximum(np.fft.rfftfreq(len(sound), 1 / MODEL_INPUT_RATE), 62.5) / 1_000)
    gain = 10 ** (np.clip(decibels_per_octave / 2 * octaves, -15, 15) / 20)
    tilted: np.ndarray = np.fft.irfft(spectrum * gain, len(sound)).astype(np.float32)
    return tilted


def _reverberant(sound: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Convolved with decaying noise, as long as before."""
    decay = float(random.uniform(0.05, 0.35))  # s to fall by 60 dB
    length = int(decay * MODEL_INPUT_RATE)
    tail = random.standard_normal(length) * np.exp(-6.9 * np.arange(length) / length)
    tail *= random.uniform(0.1, 0.5) / np.sqrt(np.square(tail).sum())
    tail[0] = 1.0
    size = 1 << (len(sound) + length - 1).bit_length()
    wet = np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(tail, size), size)
    heard: np.ndarray = wet[: len(sound)].astype(np.float32)
    return heard


def _noisy(sound: np.ndarray, random: np.random.Generator, decibels: float) -> np.ndarray:
    """With noise `decibels` below the sound's own power."""
    hiss = _coloured(len(sound), random)
    power = float(np.square(sound).mean()) + 1e-10
    noisy: np.ndarray = sound + hiss * np.sqrt(power * 10 ** (-decibels / 10))
    return noisy.astype(np.float32)


def _coloured(length: int, random: np.random.Generator) -> np.ndarray:
    """Unit noise, from white to brown."""
    spectrum = np.fft.rfft(random.standard_normal(length))
    frequencies = np.maximum(np.fft.rfftfreq(length, 1 / MODEL_INPUT_RATE), 20.0)
    hiss: np.ndarray = np.fft.irfft(spectrum * frequencies ** -float(random.uniform(0.0, 1.0)), length)
    hiss /= hiss.std() + 1e-9
    return hiss
