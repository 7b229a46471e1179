"""What a failed call says, and when to try it again."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import Callable, TypeVar

import grpc

import status_details_pb2

Answer = TypeVar("Answer")

BASE_DELAY_SECONDS = 0.2
MAX_DELAY_SECONDS = 15.0
# So long calls may fail without any progress before the last failure is final.
PATIENCE_SECONDS = 600.0

# The server says no to these however often they are sent.
FINAL_REASONS = {"MESSAGE_TOO_LARGE", "TOO_MANY_PROBLEMS"}
RETRYABLE = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED}
# Without a reason these are not the server's words, but a broken connection's or a proxy's.
BROKEN_TRANSPORT = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.CANCELLED}


@dataclass
class Failure:
    """A status with its details."""

    code: grpc.StatusCode
    message: str
    # What a program may branch on; empty when the status is not the server's own.
    reason: str
    # Facts of this case, e.g. the `scan_id` of SCAN_RUNNING.
    metadata: dict[str, str]
    # When the server asks to be called again.
    retry_delay_seconds: float

    def is_retryable(self) -> bool:
        if self.reason in FINAL_REASONS:
            return False
        return self.code in RETRYABLE or (self.reason == "" and self.code in BROKEN_TRANSPORT)


def failure_of(error: grpc.RpcError) -> Failure:
    failure = Failure(error.code(), error.details() or "", "", {}, 0.0)
    trailers = dict(error.trailing_metadata() or ())
    status = status_details_pb2.Status.FromString(trailers.get("grpc-status-details-bin", b""))
    for detail in status.details:
        name = detail.type_url.rsplit("/", 1)[-1]
        if name == "google.rpc.ErrorInfo":
            info = status_details_pb2.ErrorInfo.FromString(detail.value)
            failure.reason, failure.metadata = info.reason, dict(info.metadata)
        elif name == "google.rpc.RetryInfo":
            delay = status_details_pb2.RetryInfo.FromString(detail.value).retry_delay
            failure.retry_delay_seconds = delay.seconds + delay.nanos / 1e9
    return failure


class Retries:
    """Waits between tries: a random time up to a bound that doubles, so that many clients do not come back at once."""

    def __init__(self) -> None:
        self.progressed()

    def progressed(self) -> None:
        """Something got ahead: patience begins anew."""
        self._tries = 0
        self._failing_since: float | None = None

    def wait(self, error: grpc.RpcError) -> None:
        """Returns when it is time to try again; raises the error when it is final, or patience is at its end."""
        failure = failure_of(error)
        if not failure.is_retryable():
            raise error
        bound = min(MAX_DELAY_SECONDS, BASE_DELAY_SECONDS * 2**self._tries)
        delay = failure.retry_delay_seconds + random.uniform(0, bound)
        now = time.monotonic()
        self._failing_since = self._failing_since or now
        if now + delay - self._failing_since > PATIENCE_SECONDS:
            raise error
        self._tries = min(self._tries + 1, 30)
        time.sleep(delay)

    def run(self, call: Callable[[], Answer]) -> Answer:
        """Repeats a call that is safe to repeat until it succeeds."""
        while True:
            try:
                return call()
            except grpc.RpcError as error:
                self.wait(error)
