"""The errors of zeropoint. Every message says what is wrong, where, and what to do."""

from __future__ import annotations


class Error(Exception):
    """The base of every error that zeropoint raises on purpose."""


class ModelError(Error):
    """A model file is not valid: truncated, altered, of a newer version, or not a model."""


class UnsupportedError(Error):
    """The model is valid, but uses operators or attributes that zeropoint cannot run."""


class GraphError(Error):
    """A graph breaks its own rules (unknown value, cycle, wrong arity)."""


class InputError(Error, ValueError):
    """The caller passed something wrong: a name, a dtype, a shape, an option."""


class CalibrationError(Error):
    """Calibration data cannot be used: empty, not finite, constant."""


class IsaError(Error):
    """An ISA level that does not exist or that this CPU lacks."""


class FileError(Error, OSError):
    """A file cannot be opened, read or written."""


class MissingExtraError(Error, ImportError):
    """An optional part of zeropoint is not installed; the message names the extra."""


class OutOfMemoryError(Error, MemoryError):
    """The model or the input needs more memory than there is."""
