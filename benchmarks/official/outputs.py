"""What each official stage gives for a question: data that tests compare ours with. Runs beside driver.py, there."""

from typing import Any, Final

import numpy as np
import torch

_MEL_BINS: Final = 80
_SPEAKER: Final = 192
_LOGITS: Final = 4  # of an answer's last ids: the vocabulary is wide


def of_questions(pipeline: Any, request: dict[str, Any]) -> dict[str, np.ndarray]:
    """For the i-th question, all under `i/`: `codes` i64[m], `prompt` i64[p], `ids` i64[n] of the most probable answer,
    `logits` f32[4, vocabulary] that chose its last ids, and of its speech in one shot `mel` f32[80, T], `f0` f32[T] Hz,
    `source` f16[256 T] and `wave` f32[256 T].

    The source is rounded to f16 before the vocoder has it: given mel and source, its wave is a function of both.
    """
    arrays: dict[str, np.ndarray] = {}
    for number, caller in enumerate(request["callers"]):
        sound = torch.from_numpy(np.load(caller["samples"]))[None]
        one = _of_question(pipeline, sound, caller["rate"], request)
        arrays |= {f"{number}/{name}": array for name, array in one.items()}
    return arrays


def _of_question(pipeline: Any, sound: torch.Tensor, rate: int, request: dict[str, Any]) -> dict[str, np.ndarray]:
    (codes,) = pipeline.extract(pipeline.encoder, pipeline.extractor, [(sound, rate)])
    base: int = request["audio_base"]
    prompt = [*request["before"], *(base + code for code in codes), *request["after"]]
    given = torch.tensor([prompt])
    said = pipeline.lm.generate(
        input_ids=given,
        attention_mask=torch.ones_like(given),
        max_new_tokens=request["max_new_tokens"],
        do_sample=False,
        eos_token_id=request["stops"],
        pad_token_id=request["stops"][0],
    )
    ids: list[int] = said[0, len(prompt) :].tolist()
    logits = pipeline.lm(input_ids=said[:, :-1]).logits[0, -_LOGITS:]
    mel, f0, source, wave = _spoken(pipeline.decoder, [token - base for token in ids if token >= base])
    return {
        "codes": np.array(codes, np.int64),
        "prompt": np.array(prompt, np.int64),
        "ids": np.array(ids, np.int64),
        "logits": logits.float().numpy(),
        "mel": mel[0].numpy(),
        "f0": f0[0].numpy(),
        "source": source.numpy(),
        "wave": wave[0].numpy(),
    }


def _spoken(decoder: Any, codes: list[int]) -> tuple[torch.Tensor, ...]:
    """(mel [1, 80, T], F0 [1, T], source f16[256 T], wave [1, 256 T]) of a whole answer."""
    nothing = torch.zeros(1, 0, dtype=torch.int32)
    mel = decoder.flow.inference(
        token=torch.tensor([codes]),
        token_len=torch.tensor([len(codes)], dtype=torch.int32),
        prompt_token=nothing,
        prompt_token_len=torch.tensor([0], dtype=torch.int32),
        prompt_feat=torch.zeros(1, 0, _MEL_BINS),
        prompt_feat_len=torch.tensor([0], dtype=torch.int32),
        embedding=torch.zeros(1, _SPEAKER),
    )
    vocoder = decoder.hift
    drawn: list[torch.Tensor] = []
    make = vocoder._f02source

    def rounded(f0: torch.Tensor) -> torch.Tensor:
        drawn[:] = [f0, make(f0).half()]
        return drawn[1].float()

    vocoder._f02source = rounded
    try:
        wave, _ = vocoder.inference(mel=mel)
    finally:
        vocoder._f02source = make
    f0, source = drawn
    return mel, f0, source.flatten(), wave
