"""A connection to the server, and the stubs of the services on it."""

from __future__ import annotations

import grpc

from frostline.v1 import audit_pb2_grpc, planner_pb2_grpc, rule_pb2_grpc, scan_pb2_grpc, share_pb2_grpc

# The server takes messages up to 4 MiB; a page of a list may be as large.
MESSAGE_BYTES_AT_MOST = 4 * 1024 * 1024

CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", MESSAGE_BYTES_AT_MOST),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # A server that restarts is found again within seconds; the default grows to two minutes.
    ("grpc.max_reconnect_backoff_ms", 5_000),
]


class Connection:
    """Connects at the first call. Use it in a `with` statement, or close it."""

    def __init__(self, server: str, key: str, ca_pem: bytes | None = None) -> None:
        """`server` is host:port in plaintext, https://host:port with TLS; `ca_pem` then says whom to trust."""
        self._metadata = (("authorization", f"Bearer {key}"),)
        self._channel = _open_channel(server, ca_pem)
        self.shares = share_pb2_grpc.ShareServiceStub(self._channel)
        self.scans = scan_pb2_grpc.ScanServiceStub(self._channel)
        self.audits = audit_pb2_grpc.AuditServiceStub(self._channel)
        self.rules = rule_pb2_grpc.RuleServiceStub(self._channel)
        self.planner = planner_pb2_grpc.PlannerServiceStub(self._channel)

    def call(self, timeout_seconds: float | None = 60) -> dict:
        """What every call is given: the key, and a deadline. None is for streams, which may take hours."""
        return {"metadata": self._metadata, "timeout": timeout_seconds}

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def _open_channel(server: str, ca_pem: bytes | None) -> grpc.Channel:
    if server.startswith("https://"):
        target = server[len("https://") :].rstrip("/")
        return grpc.secure_channel(target, grpc.ssl_channel_credentials(ca_pem), CHANNEL_OPTIONS)
    return grpc.insecure_channel(server, CHANNEL_OPTIONS)
