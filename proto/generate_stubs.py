"""Write the Python stubs of proto/antiphon/v1/*.proto: `python proto/generate_stubs.py [FOLDER]`, else beside them.

They carry the versions of protoc and grpcio-tools that made them and ask for as new a protobuf and grpcio at run time.
"""

import sys
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"


def generate(folder: Path) -> None:
    """Write the stubs below `folder`: antiphon/v1/*_pb2.py and .pyi; of files with a service, *_pb2_grpc.py too."""
    sources = sorted((PROTO / "antiphon" / "v1").glob("*.proto"))
    services = [source for source in sources if "\nservice " in source.read_text("utf-8")]
    _run_protoc([f"--python_out={folder}", f"--pyi_out={folder}"], sources)
    _run_protoc([f"--grpc_python_out={folder}"], services)


def _run_protoc(outputs: list[str], sources: list[Path]) -> None:
    includes = [PROTO, ROOT / "third_party" / "googleapis", files("grpc_tools") / "_proto"]
    status = protoc.main(["protoc", *(f"-I{folder}" for folder in includes), *outputs, *map(str, sources)])
    if status != 0:
        sys.exit(f"protoc ended with {status}")


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else PROTO)
