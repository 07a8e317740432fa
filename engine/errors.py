"""Every error this package raises on purpose.

    AntiphonError
    ├── InputError              what a caller gave cannot be used
    │   ├── AudioError          empty, too long, not finite, an unknown rate or encoding
    │   ├── TextError           empty or too long
    │   ├── TokenError          an id outside its vocabulary, an empty prompt
    │   └── ContextOverflowError  the dialogue does not fit the model's context
    ├── CheckpointError         a model folder cannot be read, or its files disagree
    │   └── TextFilesMissingError  the weights are there, the text tokenizer's files are not
    ├── DeviceError             a device that is unknown or not in this machine
    ├── OutOfPagesError         the KV pool has no free page
    ├── EngineFullError         as many dialogues are open as the engine takes
    └── SessionClosedError      the session has ended; it takes no more input

`antiphon.kernels.checks.KernelArgumentError` stands apart: `kernels` knows no other package of ours, and only a fault
of the engine itself can raise it.

Each message says what was given, what was expected and, where it is not plain, what to do.
"""

__all__ = [
    "AntiphonError",
    "AudioError",
    "CheckpointError",
    "ContextOverflowError",
    "DeviceError",
    "EngineFullError",
    "InputError",
    "OutOfPagesError",
    "SessionClosedError",
    "TextError",
    "TextFilesMissingError",
    "TokenError",
]


class AntiphonError(Exception):
    """Base of every error this package raises on purpose."""


class InputError(AntiphonError, ValueError):
    """What a caller gave cannot be used. The session goes on."""


class AudioError(InputError):
    """Audio that is empty, too long, not finite, or of an unknown rate or encoding."""


class TextError(InputError):
    """Text that is empty or too long."""


class TokenError(InputError):
    """An id outside its vocabulary, or a prompt with no ids."""


class ContextOverflowError(InputError):
    """The dialogue and its answer do not fit into the model's context."""


class CheckpointError(AntiphonError):
    """A model folder that cannot be read, or whose files disagree with each other."""


class TextFilesMissingError(CheckpointError):
    """The weights are there, but the text tokenizer's files are not."""


class DeviceError(AntiphonError):
    """A device that is unknown, or not in this machine."""


class OutOfPagesError(AntiphonError):
    """The KV pool has no free page for what was asked."""


class EngineFullError(AntiphonError):
    """As many dialogues are open as the engine takes."""


class SessionClosedError(AntiphonError):
    """The session has ended and takes no more input."""
