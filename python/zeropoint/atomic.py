"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from typing import IO

from zeropoint.errors import FileError


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A binary file that takes the place of ``path`` when the block ends.

    It is written under a temporary name in the same folder, brought to the disk and renamed.
    Whatever fails, the block included, a file that was at ``path`` stays as it was.

    Raises:
        FileError: the folder or the file cannot be written.
    """
    target = os.fspath(path)
    folder, name = os.path.split(target)
    temporary = ""
    try:
        if os.path.isdir(target):
            raise IsADirectoryError(0, "it is a folder")
        handle, temporary = tempfile.mkstemp(".tmp", f".{name[:40]}.", folder or ".")
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp makes private files
        os.replace(temporary, target)
    except OSError as error:
        raise FileError(
            f"{target}: cannot be written: {error.strerror or error}; check that the folder "
            "exists, is writable and has room"
        ) from error
    finally:
        if temporary and os.path.exists(temporary):
            with contextlib.suppress(OSError):
                os.unlink(temporary)
