"""`tokenizer.model` and `tokenizer_config.json` of a random checkpoint, laid out as the published ones."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from antiphon.engine.weights.generate import merges

# In the order of the published files; the first id is the number of ranks (tokenization_chatglm.py of glm-4-9b).
CONTROL_TOKENS: Final = (
    "<|endoftext|>",
    "[MASK]",
    "[gMASK]",
    "[sMASK]",
    "<sop>",
    "<eop>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|observation|>",
    "<|begin_of_image|>",
    "<|end_of_image|>",
    "<|begin_of_video|>",
    "<|end_of_video|>",
    "<|begin_of_audio|>",
    "<|end_of_audio|>",
)
STOP_TOKENS: Final = ("<|endoftext|>", "<|user|>", "<|observation|>")


@dataclass(frozen=True)
class TextTokenizer:
    """Which id stands for what."""

    ranks: dict[bytes, int]
    first_speech_id: int
    codes: int

    @classmethod
    def make(cls, n_ranks: int, first_speech_id: int, codes: int) -> "TextTokenizer":
        """`n_ranks` text ids, the control ids behind them, `codes` speech ids from `first_speech_id` on."""
        return cls(merges.ranks(n_ranks), first_speech_id, codes)

    def control_id(self, name: str) -> int:
        """The id of a control token."""
        return len(self.ranks) + CONTROL_TOKENS.index(name)

    @property
    def words(self) -> list[int]:
        """Ids of English words, each with the space before it."""
        return merges.words(self.ranks)

    def write(self, folder: Path) -> None:
        """Write both files."""
        lines = (f"{base64.b64encode(token).decode()} {rank}\n" for token, rank in self.ranks.items())
        (folder / "tokenizer.model").write_text("".join(lines))
        added = {str(self.control_id(name)): _entry(name, special=True) for name in CONTROL_TOKENS}
        for code in range(self.codes):
            added[str(self.first_speech_id + code)] = _entry(f"<|audio_{code}|>", special=False)
        config = {
            "added_tokens_decoder": added,
            "additional_special_tokens": list(CONTROL_TOKENS),
            "clean_up_tokenization_spaces": False,
            "do_lower_case": False,
            "eos_token": "<|endoftext|>",
            "pad_token": "<|endoftext|>",
            "padding_side": "left",
            "remove_space": False,
            "tokenizer_class": "ChatGLM4Tokenizer",
        }
        (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1))


def _entry(content: str, special: bool) -> dict[str, Any]:
    return {
        "content": content,
        "lstrip": False,
        "normalized": False,
        "rstrip": False,
        "single_word": False,
        "special": special,
    }
