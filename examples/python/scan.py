"""Streams a scan of a directory tree, exactly once, through lost connections and restarts of either side."""

from __future__ import annotations

import os
from typing import Iterator

import grpc
from frostline.v1 import scan_pb2, share_pb2

from connection import Connection
from failure import Retries, failure_of
from walk import Listing, walk

WRITER = "main"
CHUNK_BYTES = 256 * 1024
# A record without its name: 36 bytes are usual, twice as many the worst.
RECORD_BYTES = 42
# The end of a scan of millions of files takes minutes.
FINISH_TIMEOUT_SECONDS = 900


def ensure_share(connection: Connection, share_name: str, source_root: str) -> share_pb2.Share:
    """The share of that name, made when there is none."""
    request = share_pb2.CreateShareRequest(
        share_name=share_name, source_type=share_pb2.SOURCE_TYPE_LUCIDLINK, source_root=source_root
    )
    try:
        return connection.shares.CreateShare(request, **connection.call()).share
    except grpc.RpcError as error:
        if error.code() != grpc.StatusCode.ALREADY_EXISTS:
            raise
    return connection.shares.GetShare(share_pb2.GetShareRequest(share_name=share_name), **connection.call()).share


def run_scan(connection: Connection, root: str, share_name: str) -> scan_pb2.Scan:
    """Scans all of `root`, or goes on with the unfinished scan of the share. Raises grpc.RpcError once a failure is final."""
    retries = Retries()
    scan_id = retries.run(lambda: _start_or_resume(connection, share_name))
    furthest = -1
    gap_at = None
    while True:
        try:
            position = _position(connection, scan_id)
            if position is None:
                break
            if position.next_chunk_no > furthest:
                furthest = position.next_chunk_no
                retries.progressed()
            _push(connection, root, scan_id, position)
            break
        except grpc.RpcError as error:
            # The server expects another number by now: ask it again. Told so twice at one place, something is wrong.
            if error.code() == grpc.StatusCode.OUT_OF_RANGE and gap_at != furthest:
                gap_at = furthest
            else:
                retries.wait(error)
    return retries.run(lambda: _finish(connection, scan_id))


def problems_of(connection: Connection, scan_id: int) -> list[scan_pb2.ScanProblem]:
    """What the scan refused or could not read; the first 1,000."""
    request = scan_pb2.ListScanProblemsRequest(scan_id=scan_id, page_size=1000)
    return list(connection.scans.ListScanProblems(request, **connection.call()).problems)


def _start_or_resume(connection: Connection, share_name: str) -> int:
    request = scan_pb2.StartScanRequest(share_name=share_name, mode=scan_pb2.SCAN_MODE_FULL, exact_list_times=True)
    try:
        return connection.scans.StartScan(request, **connection.call()).scan.scan_id
    except grpc.RpcError as error:
        failure = failure_of(error)
        # Ours, from before; or the answer to the first StartScan was lost.
        if failure.reason == "SCAN_RUNNING":
            return int(failure.metadata["scan_id"])
        raise


def _position(connection: Connection, scan_id: int) -> scan_pb2.WriterPosition | None:
    """Where the server says to go on; None when it takes no more chunks, because an earlier run asked to finish."""
    answer = connection.scans.GetScan(scan_pb2.GetScanRequest(scan_id=scan_id), **connection.call())
    if answer.scan.status != scan_pb2.SCAN_STATUS_RUNNING:
        status = scan_pb2.ScanStatus.Name(answer.scan.status)
        raise RuntimeError(f"Scan {scan_id} was ended by someone else: it is {status}. Scan again.")
    if answer.scan.finishing:
        return None
    for writer in answer.writers:
        if writer.writer == WRITER:
            return writer
    return scan_pb2.WriterPosition(writer=WRITER)


def _push(connection: Connection, root: str, scan_id: int, position: scan_pb2.WriterPosition) -> None:
    """One stream, from a position to the end of the walk. gRPC takes the next chunk only when it can send it."""
    walk_error: list[Exception] = []

    def requests() -> Iterator[scan_pb2.PushScanRequest]:
        yield scan_pb2.PushScanRequest(
            open=scan_pb2.PushScanRequest.Open(scan_id=scan_id, writer=WRITER, next_chunk_no=position.next_chunk_no)
        )
        try:
            chunks = to_chunks(walk(root, position.resume_token), position.resume_token)
            for chunk_no, chunk in enumerate(chunks, position.next_chunk_no):
                chunk.chunk_no = chunk_no
                yield scan_pb2.PushScanRequest(chunk=chunk)
        except Exception as error:
            # gRPC runs this on a thread of its own, and would say no more than that the call failed.
            walk_error.append(error)
            raise

    try:
        connection.scans.PushScan(requests(), **connection.call(timeout_seconds=None))
    except grpc.RpcError:
        if walk_error:
            raise walk_error[0]
        raise


def _finish(connection: Connection, scan_id: int) -> scan_pb2.Scan:
    answer = connection.scans.GetScan(scan_pb2.GetScanRequest(scan_id=scan_id), **connection.call())
    request = scan_pb2.FinishScanRequest(scan_id=scan_id, chunks={w.writer: w.next_chunk_no for w in answer.writers})
    return connection.scans.FinishScan(request, **connection.call(FINISH_TIMEOUT_SECONDS)).scan


def to_chunks(listings: Iterator[Listing], resume_token: bytes) -> Iterator[scan_pb2.Chunk]:
    """Whole directories together up to 256 KiB; a larger one is cut. A chunk's token is the last directory that is whole with it."""
    chunk, size_bytes = scan_pb2.Chunk(), 0
    for listing in listings:
        # No other is cut: what was sent before one that is still open is not committed until all of it has come.
        if chunk.directories and size_bytes + _size_of(listing) > CHUNK_BYTES:
            chunk.resume_token = resume_token
            yield chunk
            chunk, size_bytes = scan_pb2.Chunk(), 0
        directory = _add_directory(chunk, listing)
        for name, attributes in listing.files:
            if size_bytes >= CHUNK_BYTES and (directory.files or directory.left_out):
                directory.more = True
                chunk.resume_token = resume_token
                yield chunk
                chunk, size_bytes = scan_pb2.Chunk(), 0
                directory = _add_directory(chunk, listing)
            if isinstance(attributes, str):
                directory.left_out.add(name=name, reason=attributes)
            else:
                directory.files.append(_record(name, attributes))
            size_bytes += RECORD_BYTES + len(name)
        directory.complete = listing.unreadable_reason == ""
        directory.unreadable_reason = listing.unreadable_reason
        resume_token = listing.path
        size_bytes += RECORD_BYTES + len(listing.path)
        if size_bytes >= CHUNK_BYTES:
            chunk.resume_token = resume_token
            yield chunk
            chunk, size_bytes = scan_pb2.Chunk(), 0
    if chunk.directories:
        chunk.resume_token = resume_token
        yield chunk


def _size_of(listing: Listing) -> int:
    return RECORD_BYTES + len(listing.path) + sum(RECORD_BYTES + len(name) for name, _attributes in listing.files)


def _add_directory(chunk: scan_pb2.Chunk, listing: Listing) -> scan_pb2.DirectoryListing:
    directory = chunk.directories.add(path=listing.path)
    directory.list_time.FromNanoseconds(int(listing.list_time * 1e9))
    return directory


def _record(name: bytes, attributes: os.stat_result) -> scan_pb2.FileRecord:
    # Nanoseconds first: floats would round, and whole seconds are rounded towards the past.
    mtime, atime, ctime = (ns // 10**9 for ns in (attributes.st_mtime_ns, attributes.st_atime_ns, attributes.st_ctime_ns))
    return scan_pb2.FileRecord(
        name=name,
        size_bytes=attributes.st_size,
        mtime_unix=mtime,
        atime_before_mtime=mtime - atime,
        ctime_before_mtime=mtime - ctime,
        frn=attributes.st_ino,
        allocated_bytes=attributes.st_blocks * 512,
        link_count=attributes.st_nlink,
    )
