"""Pushes audit events, each once: the server keeps how far every log was read, the client keeps nothing."""

from __future__ import annotations

from typing import Iterator

import grpc
from frostline.v1 import audit_pb2

from connection import Connection
from failure import Retries
from trail import Log, find_logs, find_volume, read_batches


def push_trail(connection: Connection, trail: str, share_name: str) -> audit_pb2.AuditCounts:
    """Pushes what the trail has beyond its cursors. Returns where the events of the last stream went."""
    logs = find_logs(trail)
    volume_id = find_volume(logs)
    retries = Retries()
    furthest = -1
    gap_at = None
    while True:
        try:
            # A stream that broke has committed some of its batches: the cursors say which.
            cursors = {cursor.audit_file_path: cursor for cursor in list_cursors(connection, share_name)}
            position = sum(cursor.position for cursor in cursors.values())
            if position > furthest:
                furthest = position
                retries.progressed()
            return _push(connection, logs, share_name, volume_id, cursors)
        except grpc.RpcError as error:
            # A cursor was set back meanwhile: ask for them again. Told so twice at one place, something is wrong.
            if error.code() == grpc.StatusCode.OUT_OF_RANGE and gap_at != furthest:
                gap_at = furthest
            else:
                retries.wait(error)


def cursor_of(connection: Connection, share_name: str, audit_file_path: str) -> audit_pb2.AuditCursor | None:
    """How far a log was read; None when nothing of it was."""
    request = audit_pb2.GetAuditCursorRequest(share_name=share_name, audit_file_path=audit_file_path)
    try:
        return connection.audits.GetAuditCursor(request, **connection.call()).cursor
    except grpc.RpcError as error:
        if error.code() != grpc.StatusCode.NOT_FOUND:
            raise
    return None


def list_cursors(connection: Connection, share_name: str) -> Iterator[audit_pb2.AuditCursor]:
    """How far every log was read, page by page."""
    request = audit_pb2.ListAuditCursorsRequest(share_name=share_name)
    while True:
        answer = connection.audits.ListAuditCursors(request, **connection.call())
        yield from answer.cursors
        if not answer.next_page_token:
            return
        request.page_token = answer.next_page_token


def _push(
    connection: Connection, logs: list[Log], share_name: str, volume_id: str, cursors: dict[str, audit_pb2.AuditCursor]
) -> audit_pb2.AuditCounts:
    """One stream, from the cursors to the ends of the logs."""
    failed: list[Exception] = []

    def requests() -> Iterator[audit_pb2.PushAuditRequest]:
        yield audit_pb2.PushAuditRequest(
            open=audit_pb2.PushAuditRequest.Open(share_name=share_name, volume_id=volume_id)
        )
        try:
            for log in logs:
                for batch in read_batches(log, cursors.get(log.audit_file_path), volume_id):
                    yield audit_pb2.PushAuditRequest(batch=batch)
        except Exception as error:
            # gRPC runs this on a thread of its own, and would say no more than that the call failed.
            failed.append(error)
            raise

    try:
        return connection.audits.PushAudit(requests(), **connection.call(timeout_seconds=None)).counts
    except grpc.RpcError:
        if failed:
            raise failed[0]
        raise
