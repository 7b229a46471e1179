"""Reads the logs of a LucidLink audit trail: one JSON object a line."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from typing import Iterator

from frostline.v1 import audit_pb2

BATCH_BYTES = 256 * 1024
# What a log is called while it is written to; it is renamed later, and stays the same log.
OPEN_SUFFIX = ".active"

ACTIONS = {
    "FileRead": audit_pb2.AUDIT_ACTION_READ,
    "PreHydrate": audit_pb2.AUDIT_ACTION_PREFETCH,
    "FileWritten": audit_pb2.AUDIT_ACTION_WRITE,
    "FileCreate": audit_pb2.AUDIT_ACTION_CREATE_FILE,
    "DirectoryCreate": audit_pb2.AUDIT_ACTION_CREATE_DIRECTORY,
    "Move": audit_pb2.AUDIT_ACTION_MOVE,
    "FileDelete": audit_pb2.AUDIT_ACTION_DELETE_FILE,
    "DirectoryDelete": audit_pb2.AUDIT_ACTION_DELETE_DIRECTORY,
}

# Who reads or writes there is an agent or a mover, and nobody uses a file of the share.
OWN_DIRECTORIES = ("/.lucid_audit", "/.frostline")


@dataclass
class Log:
    """A log of the trail, as it is on disk and as the server knows it."""

    disk_path: str
    # From the trail's root, the same before and after it is renamed.
    audit_file_path: str


def find_logs(trail: str) -> list[Log]:
    """All logs below the trail's root, oldest names first."""
    logs = []
    for directory, _subdirectories, names in os.walk(trail):
        for name in names:
            if name.removesuffix(OPEN_SUFFIX).endswith(".log"):
                disk_path = os.path.join(directory, name)
                relative = os.path.relpath(disk_path, trail).replace(os.sep, "/")
                logs.append(Log(disk_path, relative.removesuffix(OPEN_SUFFIX)))
    return sorted(logs, key=lambda log: log.audit_file_path)


def find_volume(logs: list[Log]) -> str:
    """The identity that the first line with one gives the filespace; empty when no line does."""
    for log in logs:
        with open(log.disk_path, "rb") as file:
            for line in file:
                volume_id = _parse(line)[1] if line.endswith(b"\n") else ""
                if volume_id:
                    return volume_id
    return ""


def read_batches(log: Log, cursor: audit_pb2.AuditCursor | None, volume_id: str) -> Iterator[audit_pb2.AuditBatch]:
    """What the log has beyond the cursor, in whole lines: the last one may not be written to its end yet."""
    with open(log.disk_path, "rb") as file:
        first_line = file.readline()
        if not first_line.endswith(b"\n"):
            return
        fingerprint = hashlib.sha256(first_line).digest()
        # Another first line: another file under the old name, which the server then begins anew.
        known = cursor is not None and cursor.head_fingerprint == fingerprint
        start = cursor.position if known else 0
        restarted = known and start > os.fstat(file.fileno()).st_size
        if restarted:
            start = 0
        file.seek(start)
        while lines := _whole_lines(file):
            batch = audit_pb2.AuditBatch(
                audit_file_path=log.audit_file_path,
                head_fingerprint=fingerprint,
                start_offset=start,
                restarted=restarted,
            )
            for line in lines:
                batch.events.append(_event(line, start, volume_id))
                start += len(line)
            batch.end_offset = start
            yield batch
            restarted = False


def _whole_lines(file) -> list[bytes]:
    """The next lines, some 256 KiB; none at the end, or where only a part of a line is there."""
    lines = file.readlines(BATCH_BYTES)
    if lines and not lines[-1].endswith(b"\n"):
        lines.pop()
    return lines


def _event(line: bytes, offset: int, volume_id: str) -> audit_pb2.AuditEvent:
    event, volume_of_line = _parse(line)
    if volume_of_line and volume_of_line != volume_id:
        event = audit_pb2.AuditEvent(refused_reason=f"the event is of filespace {volume_of_line}")
    event.offset = offset
    return event


def _action(name: str, path: str) -> int:
    """UNSPECIFIED for what changes nothing in the inventory: it is counted as ignored."""
    own = any(path == directory or path.startswith(directory + "/") for directory in OWN_DIRECTORIES)
    return audit_pb2.AUDIT_ACTION_UNSPECIFIED if own else ACTIONS.get(name, audit_pb2.AUDIT_ACTION_UNSPECIFIED)


def _parse(line: bytes) -> tuple[audit_pb2.AuditEvent, str]:
    """The event, and the filespace that the line names. A line that cannot be read becomes an event that says why."""
    try:
        record = json.loads(line)
        operation, origin = record["operation"], record["event"]
        event = audit_pb2.AuditEvent(
            time_micros=int(record["timestamp"]),
            action=_action(operation["action"], operation["entryPath"]),
            path=operation["entryPath"],
            target_path=operation.get("targetPath", ""),
            user=record.get("user", {}).get("name", ""),
            host=record.get("device", {}).get("hostName", ""),
            node=origin.get("nodeId", ""),
            action_name=operation["action"],
        )
        return event, origin.get("filespaceUuid", "")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return audit_pb2.AuditEvent(refused_reason=f"the line cannot be read: {type(error).__name__}"), ""
