"""Runs in the official repository's environment, not in ours: its published modules, driven as its demo drives them.

    python driver.py CHECKOUT MODEL_DIR [--device cpu]

The speech tokenizer (`speech_tokenizer.utils.extract_speech_token`) and the decoder (`flow_inference.AudioDecoder`) are
the checkout's, unchanged and in eval mode; the LM is transformers' GLM on the same weights, for the published class
needs remote code. As in the demo, the LM generates in a thread of its own into a queue, and whoever comes while
somebody is answered waits. Requests come as lines of JSON on standard input, answers go out likewise:

    {"callers": [{"samples": "call.npy", "rate": 16000}], "before": [ids], "after": [ids], "audio_base": id,
     "user": id, "stops": [ids], "max_new_tokens": 400}
    {"callers": [{"first_audio": s, "done": s, "audio_seconds": s, "codes": [...], "ids": [...]}],
     "wall": s, "cpu": s}

With "outputs": "file.npz" in a request, what each stage gives is written there instead (outputs.py).

Source of the schedule: the demo's web_demo.py; nothing of it is copied.
"""

import argparse
import importlib.machinery
import json
import os
import queue
import sys
import threading
import time
import types
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import outputs  # beside this file
import torch

SCHEDULE: Final = (25, 50, 100, 150, 200)  # speech tokens of each chunk, the last for all that follow
WAVE_RATE: Final = 22_050
MEL_BINS: Final = 80


def main() -> None:
    """Load, say so, then one answer for each line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("checkout", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever the modules print is no answer of ours
    make_importable(options.checkout, options.device)
    pipeline = Pipeline(options.model, options.device)
    tell(told, {name: importlib.import_module(name).__version__ for name in ("torch", "transformers", "diffusers")})
    with torch.inference_mode():  # on a CPU the demo's fade writes into what its flow returned under inference mode
        for line in sys.stdin:
            request = json.loads(line)
            if "outputs" in request:
                np.savez_compressed(request["outputs"], **outputs.of_questions(pipeline, request))
                tell(told, {"written": request["outputs"]})
            else:
                tell(told, pipeline.answer(request))


def make_importable(checkout: Path, device: str) -> None:
    """Let the checkout's modules be imported as its demo imports them, and run on `device`."""
    checkout = checkout.resolve()
    sys.path[:0] = [str(checkout), str(checkout / "cosyvoice"), str(checkout / "third_party" / "Matcha-TTS")]
    if device == "cpu":
        stay_on_the_cpu()
    name_torchaudio()


def tell(stream: Any, message: dict[str, Any]) -> None:
    """One line of JSON, at once."""
    stream.write(json.dumps(message) + "\n")
    stream.flush()


def name_torchaudio() -> None:
    """Its builds are particular about torch's. Questions come at 16 kHz, so what the modules take of it is named and
    never used: an empty stand-in does where it does not load."""
    try:
        importlib.import_module("torchaudio")
    except (ImportError, OSError):
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchaudio"]:
            del sys.modules[name]
        stand_in: Any = types.ModuleType("torchaudio")
        stand_in.__spec__ = importlib.machinery.ModuleSpec("torchaudio", None)  # whoever asks whether it is there
        stand_in.transforms = types.SimpleNamespace(Resample=object)
        sys.modules["torchaudio"] = stand_in


def stay_on_the_cpu() -> None:
    """The published tokenizer names CUDA wherever it puts a tensor; here all such moves lead to where it is."""

    def staying(move: Any) -> Any:
        def moved(self: Any, *where: Any, **named: Any) -> Any:
            if any(str(place).startswith("cuda") for place in (*where, *named.values())):
                return self
            return move(self, *where, **named)

        return moved

    for kind in (torch.Tensor, torch.nn.Module):
        there: Any = kind
        there.to = staying(there.to)
        there.cuda = lambda self, *_, **__: self


class OnDevice:
    """A feature extractor that computes where it is told, whatever device its caller names."""

    def __init__(self, extractor: Any, device: str) -> None:
        self._extractor = extractor
        self._device = device

    def __call__(self, *given: Any, **named: Any) -> Any:
        return self._extractor(*given, **{**named, "device": self._device})

    def __getattr__(self, name: str) -> Any:
        return getattr(self._extractor, name)


class Pipeline:
    """The official stages, loaded once."""

    def __init__(self, model: Path, device: str) -> None:
        self._device = device
        transformers = importlib.import_module("transformers")
        speech = importlib.import_module("speech_tokenizer.modeling_whisper").WhisperVQEncoder
        self.extract = importlib.import_module("speech_tokenizer.utils").extract_speech_token
        self.encoder = speech.from_pretrained(model / "glm-4-voice-tokenizer").eval().to(device)
        extractor = transformers.WhisperFeatureExtractor.from_pretrained(model / "glm-4-voice-tokenizer")
        self.extractor = OnDevice(extractor, device)
        self.lm = glm(transformers, model / "glm-4-voice-9b").to(device)
        self._streamer: Any = transformers.generation.streamers.BaseStreamer
        folder = model / "glm-4-voice-decoder"
        files = [str(folder / name) for name in ("config.yaml", "flow.pt", "hift.pt")]
        self.decoder = importlib.import_module("flow_inference").AudioDecoder(*files, device=device)
        self.decoder.flow.eval()  # the demo never does: its dropout is live
        self.decoder.hift.eval()

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """All callers of a request, who come at once: one after the other."""
        sounds = [torch.from_numpy(np.load(caller["samples"]))[None] for caller in request["callers"]]
        began, cpu = time.perf_counter(), time.process_time()
        answers = []
        for caller, sound in zip(request["callers"], sounds, strict=True):
            answers.append(self._turn(sound, caller["rate"], request, began))
        return {"callers": answers, "wall": time.perf_counter() - began, "cpu": time.process_time() - cpu}

    def _turn(self, sound: torch.Tensor, rate: int, request: dict[str, Any], began: float) -> dict[str, Any]:
        (codes,) = self.extract(self.encoder, self.extractor, [(sound, rate)])
        prompt = [*request["before"], *(request["audio_base"] + code for code in codes), *request["after"]]
        ids: list[int] = []
        samples, first = 0, None
        for wave in self._waves(prompt, request, ids):
            first = first if first is not None else time.perf_counter() - began
            samples += wave.shape[-1]
        return {
            "first_audio": first,
            "done": time.perf_counter() - began,
            "audio_seconds": samples / WAVE_RATE,
            "codes": codes,
            "ids": ids,
        }

    def _waves(self, prompt: list[int], request: dict[str, Any], ids: list[int]) -> Iterator[np.ndarray]:
        """The answer as the demo speaks it: a full buffer goes when the next id comes, the rest at the user's id."""
        waiting: list[int] = []
        spoken = torch.zeros(1, 0, dtype=torch.int64)
        mels: list[torch.Tensor] = []
        chunks = iter(SCHEDULE)
        size = next(chunks)
        turn = str(uuid.uuid4())
        for token in self._generated(prompt, request):
            ids.append(token)
            last = token == request["user"]
            if waiting and (last or len(waiting) >= size):
                size = next(chunks, SCHEDULE[-1])
                tokens = torch.tensor([waiting], device=self._device)
                heard = torch.cat(mels, dim=-1).transpose(1, 2) if mels else torch.zeros(1, 0, MEL_BINS)
                wave, mel = self.decoder.token2wav(
                    tokens, uuid=turn, prompt_token=spoken, prompt_feat=heard, finalize=last
                )
                yield wave.cpu().numpy()[0]
                mels.append(mel)
                spoken = torch.cat((spoken, tokens.cpu()), dim=-1)
                waiting = []
            if last:
                return
            if token >= request["audio_base"]:
                waiting.append(token - request["audio_base"])

    def _generated(self, prompt: Sequence[int], request: dict[str, Any]) -> Iterator[int]:
        """Ids as they come: the most probable ones, so that both engines answer alike."""
        given: queue.Queue[int | None] = queue.Queue()

        base: Any = self._streamer

        class Streamer(base):  # type: ignore[misc]
            prompt_came = False

            def put(self, value: torch.Tensor) -> None:
                if self.prompt_came:
                    for token in value.flatten().tolist():
                        given.put(token)
                self.prompt_came = True

            def end(self) -> None:
                given.put(None)

        ids = torch.tensor([prompt], device=self._device)
        settings = {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "max_new_tokens": request["max_new_tokens"],
            "do_sample": False,
            "eos_token_id": request["stops"],
            "pad_token_id": request["stops"][0],
            "streamer": Streamer(),
        }
        faults: list[BaseException] = []

        def generate() -> None:
            try:
                with torch.inference_mode():
                    self.lm.generate(**settings)
            except BaseException as fault:
                faults.append(fault)
                given.put(None)

        thread = threading.Thread(target=generate)
        thread.start()
        while (token := given.get()) is not None:
            yield token
        thread.join()
        if faults:
            raise faults[0]


def glm(transformers: Any, folder: Path) -> Any:
    """transformers' GLM with the weights of an official ChatGLM folder."""
    told = json.loads((folder / "config.json").read_text())
    heads, groups, width = told["num_attention_heads"], told["multi_query_group_num"], told["kv_channels"]
    config = transformers.GlmConfig(
        vocab_size=told["padded_vocab_size"],
        hidden_size=told["hidden_size"],
        intermediate_size=told["ffn_hidden_size"],
        num_hidden_layers=told["num_layers"],
        num_attention_heads=heads,
        num_key_value_heads=groups,
        head_dim=width,
        partial_rotary_factor=0.5,
        rope_theta=10_000.0 * told.get("rope_ratio", 1.0),
        max_position_embeddings=told["seq_length"],
        rms_norm_eps=told["layernorm_epsilon"],
        attention_bias=told["add_qkv_bias"],
        tie_word_embeddings=False,
        pad_token_id=told["pad_token_id"],
        eos_token_id=told["eos_token_id"],
    )
    model = transformers.GlmForCausalLM(config)
    load = importlib.import_module("safetensors.torch").load_file
    weights: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        for name, tensor in load(path).items():
            weights |= renamed(name, tensor.float(), heads * width, groups * width)
    model.load_state_dict(weights)
    return model.eval()


def renamed(name: str, tensor: torch.Tensor, queries: int, keys: int) -> dict[str, torch.Tensor]:
    """A tensor of the official file under transformers' names. The rows of q, k and v lie in one there."""
    if name.endswith("inv_freq"):
        return {}
    for old, new in _NAMES:
        name = name.replace(old, new)
    if "query_key_value" in name:
        parts = (tensor[:queries], tensor[queries : queries + keys], tensor[queries + keys :])
        return {name.replace("query_key_value", f"{one}_proj"): part for one, part in zip("qkv", parts, strict=True)}
    return {name: tensor}


_NAMES: Final = (
    ("transformer.embedding.word_embeddings", "model.embed_tokens"),
    ("transformer.encoder.final_layernorm", "model.norm"),
    ("transformer.output_layer", "lm_head"),
    ("transformer.encoder.layers", "model.layers"),
    ("self_attention.dense", "self_attn.o_proj"),
    ("self_attention", "self_attn"),
    ("mlp.dense_h_to_4h", "mlp.gate_up_proj"),
    ("mlp.dense_4h_to_h", "mlp.down_proj"),
)

if __name__ == "__main__":
    main()
