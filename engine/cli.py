"""The command line: `antiphon VERB …`.

Progress goes to standard error, results to standard output; `--json` prints one object for machines.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from antiphon.engine.config import EngineConfig, SessionConfig
from antiphon.engine.errors import AntiphonError, InputError
from antiphon.engine.service.settings import ServiceSettings, limits
from antiphon.engine.speak.chunking import STREAMING_MODES
from antiphon.engine.weights.manifest import MANIFEST_FILE

_ENGINE = EngineConfig()
_SESSION = SessionConfig()
_SERVICE = ServiceSettings()
_MODEL_VARIABLE = "ANTIPHON_MODEL"
# A clone of the repository brings a small checkpoint; an installed package does not.
_DEMO_MODEL = Path(__file__).resolve().parents[1] / "demo" / "checkpoint"


def main(arguments: Sequence[str]) -> int:
    """Run one command. Returns 0, or 1 after an error that was told in a sentence, or 2 for a wrong call."""
    options = _parser().parse_args(arguments)
    try:
        result: int = options.run(options)
    except AntiphonError as error:
        print(f"antiphon {options.verb}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"antiphon {options.verb}: stopped.", file=sys.stderr)
        return 130
    return result


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="antiphon", description="GLM-4-Voice: a caller's audio in, a spoken answer out."
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    talk = verbs.add_parser("talk", help="answer a recorded question by voice")
    talk.add_argument(
        "audio",
        type=Path,
        help="a wav, mp3, flac or other audio file; its first channel is heard. With --server also '-': raw 16-bit "
        "PCM, mono, from standard input",
    )
    _add_answer_options(talk)
    talk.add_argument("--rate", type=int, help="of '-', in Hz: 8000, 16000, 22050, 24000 or 48000")
    talk.add_argument(
        "--realtime",
        action="store_true",
        help="with --server: speak at the audio's own pace; the server hears when a turn is over",
    )
    talk.set_defaults(run=_talk)

    say = verbs.add_parser("say", help="answer a written question by voice")
    say.add_argument("text", help="what you say; '-' reads standard input")
    _add_answer_options(say)
    say.set_defaults(run=_say)

    serve = verbs.add_parser("serve", help="serve spoken dialogues over gRPC, until SIGTERM")
    _add_serve_options(serve)
    serve.set_defaults(run=_serve)

    tokenize = verbs.add_parser("tokenize", help="print the speech tokens of audio files")
    tokenize.add_argument("audio", type=Path, nargs="+")
    _add_model_options(tokenize)
    tokenize.set_defaults(run=_tokenize)

    info = verbs.add_parser("info", help="describe a model folder without loading its weights")
    info.add_argument("model", type=Path, nargs="?", help="a model folder, or one of the three official folders in it")
    info.add_argument(
        "--kernels", action="store_true", help="tell which backend each operation uses on --device, and why"
    )
    info.add_argument("--device", default="auto", help="for --kernels (default: %(default)s)")
    info.add_argument("--json", action="store_true", help="print one JSON object")
    info.set_defaults(run=_info)

    new = verbs.add_parser("new-checkpoint", help="write a model folder with random weights in the official formats")
    new.add_argument("folder", type=Path, help="a folder that does not exist yet, or is empty")
    new.add_argument("--size", choices=("tiny", "small", "9b"), default="tiny", help="default: %(default)s")
    new.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    new.set_defaults(run=_new_checkpoint)

    fetch = verbs.add_parser("fetch", help="download the official checkpoint (about 21 GB), or go on with it")
    fetch.add_argument("folder", type=Path)
    fetch.add_argument("--revision", default="main", help="branch, tag or commit (default: %(default)s)")
    fetch.set_defaults(run=_fetch)
    return parser


def _add_model_options(parser: argparse.ArgumentParser, devices: str = "auto, cpu, cuda or cuda:N") -> None:
    parser.add_argument(
        "--model",
        type=Path,
        default=_default_model(),
        help=f"a folder with the three official folders inside (default: ${_MODEL_VARIABLE}, or the demo/checkpoint of "
        "the clone that this runs from)",
    )
    parser.add_argument("--device", default="auto", help=f"{devices} (default: %(default)s)")
    parser.add_argument("--dtype", default="float32", help="float32 or bfloat16 (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def _add_answer_options(parser: argparse.ArgumentParser) -> None:
    _add_model_options(parser)
    _add_server_options(parser)
    sampling = _SESSION.sampling
    parser.add_argument("--out", type=Path, default=Path("answer.wav"), help="the answer's wav (default: %(default)s)")
    parser.add_argument("--temperature", type=float, default=sampling.temperature, help="default: %(default)s")
    parser.add_argument("--top-p", type=float, default=sampling.top_p, help="default: %(default)s")
    parser.add_argument("--top-k", type=int, default=sampling.top_k, help="0: no limit (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=sampling.seed, help="default: a fresh one each time")
    parser.add_argument("--max-new-tokens", type=int, default=sampling.max_new_tokens, help="default: %(default)s")
    parser.add_argument(
        "--instructions", default=_SESSION.instructions, help="system prompt (default: the official one)"
    )
    _add_streaming_option(parser)


def _add_streaming_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--streaming",
        choices=STREAMING_MODES,
        default=_ENGINE.streaming,
        help="how speech is cut and joined; 'reference' as the official web demo does (default: %(default)s)",
    )


def _add_server_options(parser: argparse.ArgumentParser) -> None:
    server = parser.add_argument_group("a server instead of --model")
    server.add_argument("--server", metavar="HOST:PORT", help="call this server")
    server.add_argument(
        "--api-key-file", type=Path, help="a file with nothing but the key (default: $ANTIPHON_API_KEY, if set)"
    )
    server.add_argument("--tls", action="store_true", help="an encrypted line, trusting the system's certificates")
    server.add_argument("--tls-ca", type=Path, help="an encrypted line, trusting these certificates (PEM)")
    server.add_argument("--tls-cert", type=Path, help="this client's own certificate (PEM), if the server asks")
    server.add_argument("--tls-key", type=Path, help="its private key (PEM)")


def _default_model() -> str | Path | None:
    """The model where none is named; None where there is no default."""
    named = os.environ.get(_MODEL_VARIABLE)
    return named or (_DEMO_MODEL if (_DEMO_MODEL / MANIFEST_FILE).is_file() else None)


def _check_model(options: argparse.Namespace) -> None:
    """Raise InputError where no model is named and there is no default."""
    if options.model is None:
        raise InputError(
            f"no model is named, and there is none at {_DEMO_MODEL}, where a clone of the repository may bring one. "
            f"Name a model folder with --model or ${_MODEL_VARIABLE}; `antiphon new-checkpoint DIR` makes one with "
            "random weights, `antiphon fetch DIR` downloads the official one. `talk` and `say` can also ask a server: "
            "--server HOST:PORT."
        )


def _talk(options: argparse.Namespace) -> int:
    if options.server is not None:
        from antiphon.engine.cli_call import CallOptions, call_audio

        return call_audio(options.audio, options.rate, CallOptions.of(options))
    if options.realtime or options.rate is not None:
        raise InputError("--realtime and --rate go with --server.")
    from antiphon.engine.cli_answer import AnswerOptions, answer_audio

    _check_model(options)
    return answer_audio(options.audio, AnswerOptions.of(options))


def _say(options: argparse.Namespace) -> int:
    text = sys.stdin.read() if options.text == "-" else options.text
    if options.server is not None:
        from antiphon.engine.cli_call import CallOptions, call_text

        return call_text(text, CallOptions.of(options))
    from antiphon.engine.cli_answer import AnswerOptions, answer_text

    _check_model(options)
    return answer_text(text, AnswerOptions.of(options))


def _add_serve_options(parser: argparse.ArgumentParser) -> None:
    _add_model_options(parser, "auto, cpu, cuda or cuda:N; several with commas between them: an engine on each")
    parser.add_argument("--host", default=_SERVICE.host, help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=_SERVICE.port, help="0: any that is free (default: %(default)s)")
    _add_streaming_option(parser)
    parser.add_argument(
        "--frontends",
        type=int,
        default=1,
        help="processes that speak gRPC and share the port; 100 calls each are comfortable (default: %(default)s)",
    )
    parser.add_argument("--reflection", action="store_true", help="let clients ask what the calls are (grpcurl)")
    parser.add_argument("--api-key-file", type=Path, help="lines of NAME:KEY or NAME:sha256:HEX; read again on change")
    parser.add_argument("--tls-cert", type=Path, help="the server's certificate, PEM")
    parser.add_argument("--tls-key", type=Path, help="its key, PEM")
    parser.add_argument("--tls-client-ca", type=Path, help="take only clients with a certificate of these authorities")
    limited = parser.add_argument_group("limits")
    limited.add_argument(
        "--max-dialogues",
        type=int,
        default=_ENGINE.max_dialogues,
        help="dialogues open on each engine (default: %(default)s)",
    )
    limited.add_argument(
        "--kv-tokens",
        type=int,
        default=_ENGINE.kv_tokens,
        help="positions of each engine's KV pool (default: %(default)s)",
    )
    for limit in limits():
        limited.add_argument(
            "--" + limit.name.replace("_", "-"),
            type=type(limit.default),
            default=limit.default,
            help=f"{limit.metadata['help']} (default: %(default)s)",
        )


def _serve(options: argparse.Namespace) -> int:
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its core writes lines of its own among the log's JSON
    from antiphon.engine.cli_serve import plan_of, serve

    _check_model(options)
    return serve(plan_of(options))


def _tokenize(options: argparse.Namespace) -> int:
    from antiphon.engine.hear.codec import read_audio
    from antiphon.engine.hear.tokenizer import SpeechTokenizer
    from antiphon.engine.weights.folders import TOKENIZER_FOLDER

    _check_model(options)
    inner = options.model / TOKENIZER_FOLDER
    tokenizer = SpeechTokenizer.load(inner if inner.is_dir() else options.model, options.device, options.dtype)
    ids = tokenizer.encode_batch([read_audio(path) for path in options.audio])
    if options.json:
        _print_json([{"audio": str(path), "tokens": t} for path, t in zip(options.audio, ids, strict=True)])
        return 0
    for path, tokens in zip(options.audio, ids, strict=True):
        print(f"{path}: {' '.join(map(str, tokens))}")
    return 0


def _info(options: argparse.Namespace) -> int:
    import torch

    from antiphon.engine.device import resolve_device
    from antiphon.engine.weights.info import describe
    from antiphon.kernels.registry import BackendError, all_ops

    if options.model is None and not options.kernels:
        raise InputError("nothing to describe: name a model folder, or ask for --kernels.")
    told: dict[str, Any] = {}
    if options.model is not None:
        description = describe(options.model)
        told["model"] = description.to_json()
        if not options.json:
            print(description.to_text())
    if options.kernels:
        device = resolve_device(options.device)
        try:
            with torch.inference_mode():  # as in serving
                choices = {op.name: op.choose(device) for op in all_ops()}
        except BackendError as error:
            raise InputError(str(error)) from error
        told["kernels"] = {name: asdict(choice) for name, choice in choices.items()}
        if not options.json:
            for name, choice in choices.items():
                print(f"{name:24} {choice.backend:7} {choice.reason}")
    if options.json:
        _print_json(told)
    return 0


def _new_checkpoint(options: argparse.Namespace) -> int:
    from antiphon.engine.weights.new_checkpoint import new_checkpoint

    new_checkpoint(options.folder, options.size, options.seed, progress=_progress)
    print(f"wrote {options.folder}: random weights, so what it says is noise", file=sys.stderr)
    return 0


def _fetch(options: argparse.Namespace) -> int:
    from antiphon.engine.weights.fetch import fetch

    fetch(options.folder, revision=options.revision)
    return 0


def _progress(message: str) -> None:
    print(message, file=sys.stderr)


def _print_json(value: Any) -> None:
    json.dump(value, sys.stdout, ensure_ascii=False)
    print()
