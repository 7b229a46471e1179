"""Walks a directory tree, in an order that a later walk can go on from."""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass, field
from typing import Iterator

# What storage systems and Frostline keep beside the files.
EXCLUDED = {b".snapshot", b"~snapshot", b".lucid_audit", b".frostline", b"$RECYCLE.BIN", b"System Volume Information"}


@dataclass
class Listing:
    """One directory: its own files, not those below its subdirectories."""

    # From the share's root: "/", or "/a/b". Raw bytes, as names on disk are.
    path: bytes
    list_time: float
    # Name and attributes; or, of one that could not be looked at, the reason.
    files: list[tuple[bytes, os.stat_result | str]] = field(default_factory=list)
    # Why the directory could not be read; empty when it was.
    unreadable_reason: str = ""


def walk(root: str, after: bytes = b"") -> Iterator[Listing]:
    """Every directory before its subdirectories, siblings in byte order, from the one that follows `after` in that order.
    Raises OSError when the root cannot be read."""
    done = _components(after) if after else None
    yield from _walk(os.fsencode(os.path.abspath(root)), b"/", done)


def _walk(root: bytes, path: bytes, done: list[bytes] | None) -> Iterator[Listing]:
    try:
        listing, subdirectories = _list(root, path)
    except FileNotFoundError:
        # Gone since its parent was listed. Without its root there is nothing to tell of the share.
        if path == b"/":
            raise
        return
    except OSError as error:
        if path == b"/":
            raise
        yield Listing(path, time.time(), unreadable_reason=error.strerror or str(error))
        return
    # Components, not text: "/a!" sorts before "/a/b" as text, but is listed after it.
    if done is None or _components(path) > done:
        yield listing
    for name in subdirectories:
        below = path.rstrip(b"/") + b"/" + name
        # All of a directory that sorts before the position, and is not above it, was listed before.
        if done is None or _components(below) >= done[: len(_components(below))]:
            yield from _walk(root, below, done)


def _list(root: bytes, path: bytes) -> tuple[Listing, list[bytes]]:
    listing = Listing(path, time.time())
    subdirectories = []
    with os.scandir(root + path) as entries:
        for entry in entries:
            if entry.name in EXCLUDED:
                continue
            try:
                attributes = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            except OSError as error:
                listing.files.append((entry.name, error.strerror or str(error)))
                continue
            if stat.S_ISDIR(attributes.st_mode):
                subdirectories.append(entry.name)
            elif stat.S_ISREG(attributes.st_mode):
                listing.files.append((entry.name, attributes))
    return listing, sorted(subdirectories)


def _components(path: bytes) -> list[bytes]:
    return [name for name in path.split(b"/") if name]
