"""Tensors read from files: what is right comes out as others read it, what is wrong is named and never run."""

import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from goldens import golden
from safetensors.torch import load_file, save_file

from antiphon.engine.errors import CheckpointError
from antiphon.engine.weights.reader import TensorSource, open_pickle, open_safetensors

SHARDS = [f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
INDEX = "model.safetensors.index.json"
QUERY = "transformer.encoder.layers.0.self_attention.query_key_value.weight"


@pytest.fixture
def lm(tmp_path: Path) -> Path:
    """The goldens' sharded folder, to be spoiled."""
    for name in (*SHARDS, INDEX):
        shutil.copy(golden(f"lm/{name}"), tmp_path / name)
    return tmp_path


def edit_index(folder: Path, edit: Callable[[dict[str, str]], object]) -> None:
    index = json.loads((folder / INDEX).read_text())
    edit(index["weight_map"])
    (folder / INDEX).write_text(json.dumps(index))


def edit_header(path: Path, edit: Callable[[dict[str, dict[str, object]]], object]) -> None:
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    edit(header)
    encoded = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + data[8 + length :])


def assert_holds(source: TensorSource, tensors: dict[str, torch.Tensor]) -> None:
    assert set(source.names()) == set(tensors)
    for name, tensor in tensors.items():
        spec = source.spec(name)
        assert (spec.shape, spec.dtype) == (tuple(tensor.shape), tensor.dtype), name
        assert torch.equal(source.read(name), tensor), name


def test_shards_hold_what_the_safetensors_library_reads(lm: Path) -> None:
    expected = {name: tensor for shard in SHARDS for name, tensor in load_file(lm / shard).items()}
    assert_holds(open_safetensors(lm), expected)
    (lm / INDEX).unlink()  # model*.safetensors without an index
    assert_holds(open_safetensors(lm), expected)


def test_every_dtype_and_shape_is_read(tmp_path: Path) -> None:
    tensors = {
        "bf16": torch.randn(3, 5).bfloat16(),
        "f16": torch.randn(7).half(),
        "i64": torch.arange(4),
        "u8": torch.arange(3, dtype=torch.uint8),  # an odd number of bytes before the next
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 4),
    }
    save_file(tensors, tmp_path / "model.safetensors")
    assert_holds(open_safetensors(tmp_path), tensors)


def test_a_state_dict_is_read_without_its_values_being_shared(tmp_path: Path) -> None:
    tensors = {"a": torch.randn(4, 6).t(), "b": torch.arange(3)}
    for zipped in (True, False):  # torch's older layout as well
        torch.save(tensors, tmp_path / "flow.pt", _use_new_zipfile_serialization=zipped)
        source = open_pickle(tmp_path / "flow.pt")
        assert_holds(source, tensors)
        source.read("a").fill_(0.0)
        assert_holds(source, tensors)


def truncate_shard(folder: Path) -> str:
    path = folder / SHARDS[1]
    path.write_bytes(path.read_bytes()[:-100])
    return rf"{SHARDS[1]} is truncated: it has \d+ bytes, but transformer\.\S+ ends at byte \d+"


def truncate_header(folder: Path) -> str:
    (folder / SHARDS[0]).write_bytes((folder / SHARDS[0]).read_bytes()[:50])
    return rf"{SHARDS[0]} has 50 bytes and promises a header of \d+"


def lengthen_shard(folder: Path) -> str:
    with (folder / SHARDS[2]).open("ab") as file:
        file.write(b"more")
    return rf"{SHARDS[2]} has \d+ bytes, its header describes \d+; expected no bytes to spare"


def spoil_header(folder: Path) -> str:
    (folder / SHARDS[0]).write_bytes(struct.pack("<Q", 4) + b"{{{{")
    return rf"header of \S+{SHARDS[0]} is not JSON"


def promise_a_header_of_the_whole_disk(folder: Path) -> str:
    (folder / SHARDS[0]).write_bytes(struct.pack("<Q", 2**63) + b"{}")
    return f"promises a header of {2**63}; expected a safetensors file"


def misshape_in_the_header(folder: Path) -> str:
    edit_header(folder / SHARDS[0], lambda header: header[QUERY].update(shape=[256, 129]))
    return rf"{QUERY} has 131072 bytes; expected 132096 for shape \[256, 129\] of F32"


def overlap_tensors(folder: Path) -> str:
    size = 256 * 128 * 4
    edit_header(folder / SHARDS[0], lambda header: header[QUERY].update(data_offsets=[0, size]))
    return r"begins at byte \d+; expected \d+, the end of the last"


def negative_offsets(folder: Path) -> str:
    edit_header(folder / SHARDS[0], lambda header: header[QUERY].update(data_offsets=[-131072, 0]))
    return rf"{QUERY} has the header entry .* expected shape and two data_offsets"


def unknown_dtype(folder: Path) -> str:
    edit_header(folder / SHARDS[0], lambda header: header[QUERY].update(dtype="Q4"))
    return rf"{QUERY} has dtype 'Q4'; expected one of F64, F32"


def remove_shard(folder: Path) -> str:
    (folder / SHARDS[1]).unlink()
    return rf"{SHARDS[1]} is missing; expected it as published"


def index_a_tensor_that_is_not_there(folder: Path) -> str:
    edit_index(folder, lambda weight_map: weight_map.update({"transformer.more": SHARDS[0]}))
    return rf"says that {SHARDS[0]} holds transformer\.more, which is not there"


def index_a_tensor_elsewhere(folder: Path) -> str:
    edit_index(folder, lambda weight_map: weight_map.update({QUERY: SHARDS[2]}))
    return rf"says that {SHARDS[2]} holds {QUERY}, which is in {SHARDS[0]}"


def leave_a_tensor_out_of_the_index(folder: Path) -> str:
    edit_index(folder, lambda weight_map: weight_map.pop(QUERY))
    return rf"holds {QUERY}, which {INDEX} does not name"


def hold_a_tensor_twice(folder: Path) -> str:
    (folder / INDEX).unlink()
    shutil.copy(folder / SHARDS[0], folder / "model-extra.safetensors")
    return r"transformer\.\S+ is in both \S+ and \S+; expected it once"


def climb_out_of_the_folder(folder: Path) -> str:
    shutil.copy(folder / SHARDS[0], folder.parent / "stolen.safetensors")
    edit_index(folder, lambda weight_map: weight_map.update({QUERY: "../stolen.safetensors"}))
    return r"the path '\.\./stolen\.safetensors' leaves the folder"


def name_an_absolute_path(folder: Path) -> str:
    edit_index(folder, lambda weight_map: weight_map.update({QUERY: "/etc/passwd"}))
    return "the path '/etc/passwd' leaves the folder"


def link_out_of_the_folder(folder: Path) -> str:
    outside = folder.parent / "outside.safetensors"
    (folder / SHARDS[0]).rename(outside)
    (folder / SHARDS[0]).symlink_to(outside)
    return rf"{SHARDS[0]} is a link to \S+outside\.safetensors, outside"


def link_to_nowhere(folder: Path) -> str:
    (folder / SHARDS[0]).unlink()
    (folder / SHARDS[0]).symlink_to("nowhere")
    return "is missing, which is a broken link"


def write_a_list_for_an_index(folder: Path) -> str:
    (folder / INDEX).write_text("[]")
    return rf"{INDEX} holds a list; expected a JSON object"


def nest_the_index_deeply(folder: Path) -> str:
    (folder / INDEX).write_text('{"weight_map":' * 100_000)
    return rf"{INDEX} is not JSON"


def give_a_key_twice(folder: Path) -> str:
    (folder / INDEX).write_text(f'{{"weight_map": {{"a": "{SHARDS[0]}", "a": "{SHARDS[1]}"}}}}')
    return "gives 'a' twice"


def empty_the_folder(folder: Path) -> str:
    for path in folder.iterdir():
        path.unlink()
    return r"model\.safetensors is missing; expected it as published"


SPOILED = (
    truncate_shard,
    truncate_header,
    lengthen_shard,
    spoil_header,
    promise_a_header_of_the_whole_disk,
    misshape_in_the_header,
    overlap_tensors,
    negative_offsets,
    unknown_dtype,
    remove_shard,
    index_a_tensor_that_is_not_there,
    index_a_tensor_elsewhere,
    leave_a_tensor_out_of_the_index,
    hold_a_tensor_twice,
    climb_out_of_the_folder,
    name_an_absolute_path,
    link_out_of_the_folder,
    link_to_nowhere,
    write_a_list_for_an_index,
    nest_the_index_deeply,
    give_a_key_twice,
    empty_the_folder,
)


@pytest.mark.parametrize("spoil", SPOILED, ids=lambda spoil: str(spoil.__name__))
def test_a_spoiled_folder_is_refused_by_name(lm: Path, spoil: Callable[[Path], str]) -> None:
    sentence = spoil(lm)
    with pytest.raises(CheckpointError, match=sentence):
        open_safetensors(lm)


def test_a_snapshot_of_the_hub_cache_may_link_to_its_own_blobs(tmp_path: Path) -> None:
    snapshot, blobs = tmp_path / "models--x" / "snapshots" / "abc", tmp_path / "models--x" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    save_file({"a": torch.ones(2)}, blobs / "123")
    (snapshot / "model.safetensors").symlink_to("../../blobs/123")
    assert open_safetensors(snapshot).names() == ("a",)


class Intruder:
    """Pickled, it makes a file when it is unpickled without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("plain", [True, False], ids=["pickle", "torch.save"])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path, plain: bool) -> None:
    trace, path = tmp_path / "it-ran", tmp_path / "flow.pt"
    if plain:
        path.write_bytes(pickle.dumps({"a": Intruder(trace)}, protocol=2))
    else:
        torch.save({"a": torch.ones(2), "b": Intruder(trace)}, path)
    with pytest.raises(CheckpointError, match=r"flow\.pt was refused and nothing in it was executed"):
        open_pickle(path)
    assert not trace.exists()


def test_what_is_no_state_dict_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "hift.pt"
    for value, sentence in (
        ([torch.ones(1)], "holds a list; expected a plain dict of tensors"),
        ({"epoch": 3, "a": torch.ones(1)}, "the entry 'epoch' is a int"),
        ({"a": {"b": torch.ones(1)}}, "the entry 'a' is a dict"),
        ({"a": torch.ones(2, 2).to_sparse()}, r"a is torch\.sparse_coo"),
    ):
        torch.save(value, path)
        with pytest.raises(CheckpointError, match=sentence):
            open_pickle(path)


def test_a_truncated_state_dict_is_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    whole = golden("decoder/hift.pt").read_bytes()
    path = tmp_path / "hift.pt"
    for length in (0, 1, 3, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"hift\.pt"):
            open_pickle(path)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"hift\.pt is missing"):
        open_pickle(path)
