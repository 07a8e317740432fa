"""Speech with the time of every phoneme, from libespeak-ng by ctypes.

Debian: `apt install espeak-ng` (1.51 was used). The library is process-wide state: one `Espeak` a process, never two
threads. Source: espeak-ng, src/include/espeak-ng/speak_lib.h.
"""

import ctypes
import ctypes.util
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

RATE: Final = 22_050  # Hz, of every espeak-ng voice

_SYNCHRONOUS: Final = 2  # AUDIO_OUTPUT_SYNCHRONOUS: samples come through the callback
_PHONEME_EVENTS: Final = 1  # espeakINITIALIZE_PHONEME_EVENTS
_EVENT_END: Final = 0
_EVENT_PHONEME: Final = 7
_UTF8: Final = 1
_SPEED, _PITCH, _RANGE = 1, 3, 4  # espeak_PARAMETER


class EspeakError(Exception):
    """espeak-ng is missing, or refused something."""


@dataclass(frozen=True)
class Phoneme:
    """One phoneme of an utterance."""

    name: str  # espeak's mnemonic, e.g. "aI"; "_" and "_:" are pauses
    start: int  # sample at RATE


@dataclass(frozen=True)
class Utterance:
    """What espeak-ng said."""

    samples: np.ndarray  # i16[n] at RATE
    phonemes: tuple[Phoneme, ...]  # in time's order


class _Identity(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # ms
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Identity),
    ]


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class Espeak:
    """The library, initialised."""

    def __init__(self) -> None:
        """Raises EspeakError where the library is not installed."""
        name = ctypes.util.find_library("espeak-ng") or "libespeak-ng.so.1"
        try:
            self._library = ctypes.CDLL(name)
        except OSError as error:
            raise EspeakError(f"{name} cannot be loaded; install espeak-ng (Debian: apt install espeak-ng).") from error
        if self._library.espeak_Initialize(_SYNCHRONOUS, 0, None, _PHONEME_EVENTS) != RATE:
            raise EspeakError(f"espeak-ng did not start at {RATE} Hz; are its data files installed (espeak-ng-data)?")
        self._pieces: list[np.ndarray] = []
        self._phonemes: list[Phoneme] = []
        self._callback = _Callback(self._take)  # kept: the library holds a bare pointer
        self._library.espeak_SetSynthCallback(self._callback)
        self._voice = ""

    def say(self, text: str, voice: str, speed: int = 150, pitch: int = 50, intonation: int = 50) -> Utterance:
        """`text` by `voice` (e.g. "en-us+f3") at `speed` words a minute, `pitch` and its range from 0 to 100.

        Raises EspeakError for an unknown voice or when nothing was said.
        """
        if voice != self._voice and self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise EspeakError(f"espeak-ng has no voice {voice!r}; `espeak-ng --voices` lists them.")
        self._voice = voice
        for parameter, value in ((_SPEED, speed), (_PITCH, pitch), (_RANGE, intonation)):
            self._library.espeak_SetParameter(parameter, value, 0)
        self._pieces, self._phonemes = [], []
        encoded = text.encode()
        size = ctypes.c_size_t(len(encoded) + 1)
        self._library.espeak_Synth(encoded, size, 0, 1, 0, _UTF8, None, None)
        self._library.espeak_Synchronize()
        if not self._pieces:
            raise EspeakError(f"espeak-ng said nothing to {text!r} in the voice {voice!r}.")
        return Utterance(np.concatenate(self._pieces), tuple(self._phonemes))

    def _take(self, samples: Any, count: int, events: Any) -> int:
        """The library's callback: keep the samples and the phonemes; 0 goes on."""
        if samples and count:
            self._pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        index = 0
        while events[index].type != _EVENT_END:
            event = events[index]
            if event.type == _EVENT_PHONEME:
                self._phonemes.append(Phoneme(event.id.string.decode(errors="replace"), event.sample))
            index += 1
        return 0


def installed() -> bool:
    """Whether espeak-ng can be used here."""
    try:
        ctypes.CDLL(ctypes.util.find_library("espeak-ng") or "libespeak-ng.so.1")
    except OSError:
        return False
    return True
