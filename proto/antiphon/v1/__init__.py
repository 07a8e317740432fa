"""The wire: stubs made of the .proto files beside them by `make stubs`. docs/protocol.md explains a call."""
