"""The wire: its stubs are those of its .proto files, and what it says agrees with itself, its page and the engine."""

import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from antiphon.engine.config import SessionConfig
from antiphon.engine.events import FinishReason, InterruptionReason
from antiphon.engine.hear.turn_taking import EndReason, TurnDetectionSettings
from antiphon.engine.weights.configs import LanguageModelConfig
from antiphon.v1 import audio_pb2, dialogue_pb2, error_reason_pb2, events_pb2, session_pb2

ROOT = Path(__file__).parents[2]
WIRE = ROOT / "proto" / "antiphon" / "v1"
CONVERSE_MESSAGE_BYTES = 64 * 1024
CODES = (
    "INVALID_ARGUMENT",
    "FAILED_PRECONDITION",
    "RESOURCE_EXHAUSTED",
    "UNAUTHENTICATED",
    "UNAVAILABLE",
    "INTERNAL",
)


def names(values: Iterable[str], prefix: str) -> set[str]:
    """An enum's values without their prefix and the unspecified one."""
    return {value.removeprefix(prefix) for value in values} - {"UNSPECIFIED"}


def members(enum: Iterable[FinishReason | InterruptionReason | EndReason]) -> set[str]:
    return {member.name for member in enum}


def reason_codes() -> dict[str, str]:
    """Each error reason and the gRPC code that its comment begins with."""
    source = (WIRE / "error_reason.proto").read_text("utf-8")
    comment_and_value = re.compile(r"// ([A-Z_]+): .*\n(?:\s+// .*\n)*\s+ERROR_REASON_(\w+) = ")
    return {reason: code for code, reason in comment_and_value.findall(source)}


def test_the_stubs_are_those_of_the_proto_files(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "proto" / "generate_stubs.py", tmp_path], check=True)
    fresh = {path.name: path.read_bytes() for path in (tmp_path / "antiphon" / "v1").iterdir()}
    committed = {path.name: path.read_bytes() for path in WIRE.glob("*_pb2*.py*")}
    stale = sorted(name for name in fresh.keys() | committed.keys() if fresh.get(name) != committed.get(name))
    assert not stale, "run make stubs and commit what it writes"


def test_the_stubs_import_beside_the_standard_services(tmp_path: Path) -> None:
    modules = [f"antiphon.v1.{path.stem}" for path in sorted(WIRE.glob("*_pb2*.py"))]
    program = f"""
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status
import importlib
for name in {modules}:
    importlib.import_module(name)
"""
    done = subprocess.run([sys.executable, "-I", "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_each_error_reason_goes_with_one_code() -> None:
    codes = reason_codes()
    assert codes.keys() == names(error_reason_pb2.ErrorReason.keys(), "ERROR_REASON_")
    assert set(codes.values()) == set(CODES)
    listed = re.compile(rf"//     ({'|'.join(CODES)}) +([A-Z_]+(?:,\s(?:\s*// +)?[A-Z_]+)*)")
    for file in ("dialogue.proto", "speech_tokenizer.proto"):
        lists = listed.findall((WIRE / file).read_text("utf-8"))
        assert lists
        for code, reasons in lists:
            assert {codes[reason] for reason in re.findall(r"[A-Z_]+", reasons)} == {code}


def test_the_page_names_every_request_event_and_reason() -> None:
    page = (ROOT / "docs" / "protocol.md").read_text("utf-8")
    for message in (dialogue_pb2.ConverseRequest, dialogue_pb2.ConverseResponse):
        for field in message.DESCRIPTOR.oneofs[0].fields:
            assert re.search(rf"\b{field.name}\b", page), field.name
    table = dict(re.findall(r"^\| ([A-Z_]+) \| ([A-Z_]+) \|", page, re.MULTILINE))
    assert table == reason_codes()


def test_what_the_engine_tells_has_a_name_on_the_wire() -> None:
    assert names(events_pb2.ResponseCompleted.FinishReason.keys(), "FINISH_REASON_") == members(FinishReason)
    assert names(events_pb2.Interrupted.Reason.keys(), "REASON_") >= members(InterruptionReason)
    assert names(events_pb2.TurnEnded.Reason.keys(), "REASON_") == members(EndReason)


@pytest.mark.parametrize(
    ("field", "default"),
    [
        ("speech_threshold", TurnDetectionSettings.threshold),
        ("prefix_padding", TurnDetectionSettings.prefix_padding),
        ("end_silence", TurnDetectionSettings.end_silence),
        ("min_barge_in_speech", TurnDetectionSettings.min_barge_in_speech),
        ("no_barge_in_window", TurnDetectionSettings.no_barge_in_window),
        ("idle_timeout", TurnDetectionSettings.idle_timeout),
        ("temperature", SessionConfig().sampling.temperature),
        ("top_p", SessionConfig().sampling.top_p),
        ("top_k", SessionConfig().sampling.top_k),
        ("max_output_tokens", SessionConfig().sampling.max_new_tokens),
    ],
)
def test_the_defaults_it_promises_are_the_engines(field: str, default: float) -> None:
    source = (WIRE / "session.proto").read_text("utf-8")
    comment = re.search(rf"((?:\s+//.*\n)+)\s+[\w. ]+ {field} = ", source)
    assert comment is not None
    promised = re.search(r"Absent: ([\d,.]*\d)", re.sub(r"\s+//\s*", " ", comment[1]))
    assert promised is not None and float(promised[1].replace(",", "")) == default


def test_a_dialogue_that_fills_the_model_fits_one_message() -> None:
    ids_a_side = 20  # two seconds of speech, an answer of a few words: sides no shorter than this
    last_id = LanguageModelConfig().vocab_size - 1
    sides = LanguageModelConfig().context // ids_a_side
    item = session_pb2.HistoryItem(
        role=session_pb2.ROLE_ASSISTANT,
        interleaved_tokens=audio_pb2.InterleavedTokens(ids=[last_id] * ids_a_side, vocabulary_id="x" * 16),
    )
    request = dialogue_pb2.ConverseRequest(config=session_pb2.SessionConfig(history=[item] * sides))
    assert request.ByteSize() < CONVERSE_MESSAGE_BYTES
