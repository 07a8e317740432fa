"""The language model's vocabulary: byte-pair text ids, control ids, and one id for each speech code.

All ids come from the model folder's files. Text never becomes a control id, whatever it spells.
"""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

import tiktoken

from antiphon.engine.errors import CheckpointError, TextError, TokenError
from antiphon.engine.think.vocab_files import read_added_tokens, read_ranks

# How glm-4-voice-9b's tokenizer cuts text into words before the merges (tokenization_chatglm.py).
SPLIT_PATTERN: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# The splitting expression overflows its stack on a million characters of white space; this many take milliseconds.
MAX_TEXT_CHARACTERS: Final = 200_000
_SPEECH_PREFIX: Final = "<|audio_"
_NEEDED: Final = (
    "[gMASK]",
    "<sop>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|begin_of_audio|>",
    "<|end_of_audio|>",
)


class Vocabulary:
    """Text to ids and back, control ids by name, speech codes to ids and back. Immutable."""

    def __init__(self, ranks: Mapping[bytes, int], added_tokens: Mapping[str, int]) -> None:
        """`ranks` are the byte-pair merges, `added_tokens` the control and speech tokens by name.

        Raises CheckpointError when the two overlap, a control token of the template is missing, or the ids of
        `<|audio_0|>`, `<|audio_1|>`, … do not follow one another.
        """
        speech = {name: token for name, token in added_tokens.items() if name.startswith(_SPEECH_PREFIX)}
        self._control_ids = {name: token for name, token in added_tokens.items() if name not in speech}
        self._first_speech_id, self.n_codes = _speech_range(speech)
        missing = [name for name in _NEEDED if name not in self._control_ids]
        if missing:
            raise CheckpointError(
                f"tokenizer_config.json: added_tokens_decoder has no {', '.join(missing)}; expected every control "
                f"token of the dialogue template: {', '.join(_NEEDED)}."
            )
        self._bytes = {token: text for text, token in ranks.items()}
        for name, token in added_tokens.items():
            if token in self._bytes:
                raise CheckpointError(
                    f"tokenizer_config.json gives {name} the id {token}, which tokenizer.model gives to the text "
                    f"{self._bytes[token]!r}; expected different ids."
                )
        self.size = 1 + max(max(self._bytes), max(added_tokens.values()))  # one more than the highest id
        self._encoding = tiktoken.Encoding(
            "glm-4-voice", pat_str=SPLIT_PATTERN, mergeable_ranks=dict(ranks), special_tokens={}
        )

    @classmethod
    def read(cls, folder: Path | str) -> "Vocabulary":
        """Read `tokenizer.model` and `tokenizer_config.json` of an official glm-4-voice-9b folder.

        Raises TextFilesMissingError, naming the file, when one is missing, and CheckpointError when one is malformed.
        """
        folder = Path(folder)
        return cls(read_ranks(folder), read_added_tokens(folder))

    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, of what every id stands for."""
        digest = sha256(f"{self._first_speech_id} {self.n_codes}\n".encode())
        for name, token in sorted(self._control_ids.items(), key=lambda item: item[1]):
            digest.update(f"{token} {name}\n".encode())
        for token, text in sorted(self._bytes.items()):
            digest.update(f"{token} {text.hex()}\n".encode())
        return digest.hexdigest()

    def encode(self, text: str) -> list[int]:
        """Text as ids. `<|user|>` and the like, written out, stay text. Raises TextError when it is too long."""
        if not isinstance(text, str):
            raise TextError(f"the text is a {type(text).__name__}; expected a str.")
        if len(text) > MAX_TEXT_CHARACTERS:
            raise TextError(
                f"the text has {len(text)} characters; expected at most {MAX_TEXT_CHARACTERS}. Send it in parts."
            )
        return self._encoding.encode_ordinary(text)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`; control, speech and unassigned ids have none. Bytes that are not UTF-8 become U+FFFD."""
        return b"".join(self.text_bytes(token) for token in ids).decode("utf-8", errors="replace")

    def text_bytes(self, token: int) -> bytes:
        """The bytes an id stands for, perhaps part of a character; none for control, speech and unassigned ids."""
        return self._bytes.get(token, b"")

    def control_id(self, name: str) -> int:
        """The id of a control token such as `<|user|>`. Raises TokenError when there is none of that name."""
        if name not in self._control_ids:
            raise TokenError(f"there is no control token {name!r}; expected one of {', '.join(self._control_ids)}.")
        return self._control_ids[name]

    def is_speech(self, token: int) -> bool:
        """Whether an id stands for a speech code."""
        return 0 <= token - self._first_speech_id < self.n_codes

    def speech_code(self, token: int) -> int:
        """The speech code, from 0, that an id stands for. Raises TokenError when it stands for none."""
        if not self.is_speech(token):
            last = self._first_speech_id + self.n_codes - 1
            raise TokenError(f"id {token} is no speech id; expected {self._first_speech_id} to {last}.")
        return token - self._first_speech_id

    def speech_id(self, code: int) -> int:
        """The id of a speech code. Raises TokenError when the code is outside the codebook."""
        if not 0 <= code < self.n_codes:
            raise TokenError(f"speech code {code} is outside the codebook; expected 0 to {self.n_codes - 1}.")
        return self._first_speech_id + code


def _speech_range(speech: Mapping[str, int]) -> tuple[int, int]:
    """(id of `<|audio_0|>`, how many codes there are)."""
    first = speech.get(f"{_SPEECH_PREFIX}0|>")
    if first is None:
        raise CheckpointError(
            "tokenizer_config.json: added_tokens_decoder has no <|audio_0|>; expected the speech codes."
        )
    for code in range(len(speech)):
        name = f"{_SPEECH_PREFIX}{code}|>"
        if speech.get(name) != first + code:
            raise CheckpointError(
                f"tokenizer_config.json: {name} has id {speech.get(name)}; expected {first + code}, as the ids of "
                f"{len(speech)} speech codes must follow one another from <|audio_0|> = {first}."
            )
    return first, len(speech)
