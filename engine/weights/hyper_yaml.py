"""A hyperpyyaml file read as plain data: nothing in it is imported, called or constructed.

`!new:CLASS` and `!name:CLASS` become the class's name and its arguments, `!apply:` the function's name alone, and
`!ref <key>` is followed where a value is asked for. Aliases are refused, so that what is read is no larger than what is
written. Source of the format: speechbrain/HyperPyYAML, README.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from antiphon.engine.errors import CheckpointError
from antiphon.engine.weights.fields import Fields
from antiphon.engine.weights.folders import read_bytes

_MAX_BYTES: Final = 1 << 20
_MAX_REFERENCES: Final = 16  # from one to the next
_REFERENCE: Final = re.compile(r"<([^<>\[\]]+)((?:\[[^<>\[\]]+\])*)>")


@dataclass(frozen=True)
class Instance:
    """`!new:` or `!name:`: a class's dotted name, and its arguments as written."""

    class_name: str
    arguments: Any


@dataclass(frozen=True)
class Call:
    """`!apply:`: a function's dotted name. It is never called."""

    function: str


@dataclass(frozen=True)
class Reference:
    """`!ref`: the expression as written."""

    expression: str


class HyperYaml:
    """A file's top-level keys, and what its references stand for."""

    def __init__(self, path: Path) -> None:
        """Raises CheckpointError when the file is missing, too large, malformed, or has tags of any other kind."""
        self.path = path
        self._root = _load(path)

    def fields(self) -> Fields:
        """The top level."""
        return Fields(str(self.path), self._root, self.resolve)

    def instance(self, parent: Fields, key: str, class_name: str) -> Fields:
        """The arguments of the object under `key`, which must be of the class `class_name`."""
        value = parent.value(key)
        where = f"{parent.where}: {key}"
        if not isinstance(value, Instance) or value.class_name != class_name:
            found = f"!new:{value.class_name}" if isinstance(value, Instance) else repr(value)[:80]
            raise CheckpointError(f"{where} is {found}; expected !new:{class_name}.")
        return self.mapping(where, value.arguments)

    def mapping(self, where: str, value: Any) -> Fields:
        """The fields of a mapping, for which `where` stands in errors."""
        if not isinstance(value, dict):
            raise CheckpointError(f"{where} is {repr(value)[:80]}; expected named values.")
        return Fields(where, value, self.resolve)

    def resolve(self, where: str, value: Any, depth: int = 0) -> Any:
        """`value` with references followed, in a list as well. Raises CheckpointError for a call, named by `where`."""
        if isinstance(value, Call):
            raise CheckpointError(
                f"{where} is !apply:{value.function}, which would run code; expected a plain value. It was not run."
            )
        if isinstance(value, list):
            return [self.resolve(where, element, depth) for element in value]
        if not isinstance(value, Reference):
            return value
        if depth == _MAX_REFERENCES:
            raise CheckpointError(f"{where} refers through more than {_MAX_REFERENCES} references; is it a circle?")
        return self.resolve(where, self._look_up(where, value.expression), depth + 1)

    def _look_up(self, where: str, expression: str) -> Any:
        match = _REFERENCE.fullmatch(expression.strip())
        if match is None:
            raise CheckpointError(f"{where} is !ref {expression[:80]!r}; expected !ref <key>. Write the value itself.")
        value: Any = self._root
        for key in (match[1], *re.findall(r"\[([^\[\]]+)\]", match[2])):
            if isinstance(value, Instance):
                value = value.arguments
            if not isinstance(value, dict) or key not in value:
                raise CheckpointError(f"{where} is !ref {expression[:80]}, but there is no {key}.")
            value = value[key]
        return value


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the format's tags as data, without aliases and repeated keys."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "aliases are not supported", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping = super().construct_mapping(node, deep=True)
        if len(mapping) != len(node.value):
            raise yaml.constructor.ConstructorError(None, None, "a key is given twice", node.start_mark)
        return mapping


def _arguments(loader: yaml.SafeLoader, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node) if isinstance(node, yaml.ScalarNode) and node.value else {}


def _instance(loader: yaml.SafeLoader, class_name: str, node: yaml.Node) -> Instance:
    return Instance(class_name, _arguments(loader, node))


def _call(loader: yaml.SafeLoader, function: str, node: yaml.Node) -> Call:
    return Call(function)


def _reference(loader: yaml.SafeLoader, node: yaml.Node) -> Reference:
    if not isinstance(node, yaml.ScalarNode):
        raise yaml.constructor.ConstructorError(None, None, "!ref needs <key>", node.start_mark)
    return Reference(str(loader.construct_scalar(node)))


_Loader.add_multi_constructor("!new:", _instance)
_Loader.add_multi_constructor("!name:", _instance)
_Loader.add_multi_constructor("!apply:", _call)
_Loader.add_constructor("!ref", _reference)
# YAML 1.1 takes 1e-06 for a text, since it has no dot; the publishers mean a number.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9][0-9_]*(?:\.[0-9_]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def _load(path: Path) -> dict[Any, Any]:
    data = read_bytes(path, _MAX_BYTES)
    try:
        root = yaml.load(data, Loader=_Loader)  # a subclass of the safe loader: plain data alone
    except (yaml.YAMLError, RecursionError, ValueError, UnicodeDecodeError) as error:
        what = " ".join(str(error).split())
        raise CheckpointError(
            f"{path} is not the YAML expected ({what}); expected the published file. Nothing in it was executed."
        ) from error
    if not isinstance(root, dict):
        raise CheckpointError(f"{path} holds a {type(root).__name__}; expected named values.")
    return root
