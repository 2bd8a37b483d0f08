"""Maps exceptions of the hub's client and of the disk to ModelError: one sentence with a remedy."""

from __future__ import annotations

import errno
import importlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from asr_batch.manifests.errors import ModelError


class UnreachableError(ModelError):
    """An origin gave no files; another one may."""


class HubUnreachableError(UnreachableError):
    """The hub gave no files: no network, offline mode, or an error on its side."""


class IndexUnreachableError(UnreachableError):
    """pip could not get a wheel: no network, no index, or a missing file."""


SPARE = 64 << 20
"""Bytes that must stay free on the disk after storing a model."""


def check_room(folder: Path, needed: int) -> None:
    """Raise ModelError unless the disk of `folder` has room for `needed` more bytes."""
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE:
        raise ModelError(
            f"{folder}: {needed / 1e6:.0f} MB are needed, with {SPARE / 1e6:.0f} MB to spare, and the disk "
            f"has {free / 1e6:.0f} MB free; free some space or choose another folder with --store"
        )


@contextmanager
def disk_errors(place: str) -> Iterator[None]:
    """Map an OSError of reading or writing `place` to ModelError."""
    try:
        yield
    except OSError as error:
        raise _disk_error(place, error) from error


def _disk_error(place: str, error: OSError) -> ModelError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return ModelError(f"{place}: the disk is full; free some space or choose another folder")
    reason = os.strerror(error.errno) if error.errno else _first_line(error)
    return ModelError(f"{place}: cannot be read or written ({reason})")


@contextmanager
def hub_errors(repository: str, revision: str | None) -> Iterator[None]:
    """Map the exceptions of huggingface_hub, its HTTP client and the disk to ModelError."""
    from huggingface_hub import errors  # slow to import, for runs that pull

    place = f"{repository}@{revision}" if revision else repository
    try:
        yield
    except errors.RevisionNotFoundError as error:
        raise ModelError(f"{place}: the hub does not know this revision") from error
    except errors.RepositoryNotFoundError as error:
        raise ModelError(f"{place}: the hub does not know this repository, or it requires a login") from error
    except errors.OfflineModeIsEnabled as error:
        raise HubUnreachableError(f"{place}: HF_HUB_OFFLINE is set, so nothing is downloaded") from error
    except errors.HfHubHTTPError as error:
        raise HubUnreachableError(f"{place}: the hub answered {_first_line(error)}") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS):
            raise _disk_error(place, error) from error
        raise HubUnreachableError(f"{place}: the hub cannot be reached ({_first_line(error)})") from error
    except Exception as error:
        if not isinstance(error, _client_errors()):
            raise
        raise HubUnreachableError(f"{place}: the hub cannot be reached ({_first_line(error)})") from error


def _client_errors() -> tuple[type[Exception], ...]:
    """Base exceptions of the HTTP client of the installed huggingface_hub, which changed over time."""
    found: list[type[Exception]] = []
    for module, name in (("httpx2", "HTTPError"), ("httpx", "HTTPError"), ("requests", "RequestException")):
        try:
            found.append(getattr(importlib.import_module(module), name))
        except ImportError:
            continue
    return tuple(found)


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]
