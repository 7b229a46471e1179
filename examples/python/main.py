#!/usr/bin/env python3
"""A client of Frostline. Prints one JSON object, or one a line, in the field names of the contract.

The key comes from FROSTLINE_KEY, never from an argument: other users of the machine see those.
Exit status: 0 done, 1 failed, 2 wrong usage, 3 done with warnings.
"""

from __future__ import annotations

import argparse
import os
import sys

# Where generate.sh puts what it makes.
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "gen"))

import grpc  # noqa: E402
from frostline.v1 import rule_pb2, scan_pb2  # noqa: E402
from google.protobuf.json_format import MessageToJson  # noqa: E402
from google.protobuf.message import Message  # noqa: E402

import audit  # noqa: E402
import planner  # noqa: E402
import scan  # noqa: E402
from connection import Connection  # noqa: E402
from failure import failure_of  # noqa: E402


def main() -> int:
    arguments = _parser().parse_args()
    key = os.environ.get("FROSTLINE_KEY", "")
    if not key:
        print("FROSTLINE_KEY is not set: it holds the API key or token.", file=sys.stderr)
        return 2
    try:
        ca_pem = _read(arguments.ca) if arguments.ca else None
        with Connection(arguments.server, key, ca_pem) as connection:
            return arguments.run(connection, arguments)
    except grpc.RpcError as error:
        failure = failure_of(error)
        print(f"{failure.code.name} {failure.reason}: {failure.message}", file=sys.stderr)
    except (OSError, RuntimeError) as error:
        print(error, file=sys.stderr)
    return 1


def run_scan(connection: Connection, arguments: argparse.Namespace) -> int:
    scan.ensure_share(connection, arguments.share, os.path.abspath(arguments.directory))
    done = scan.run_scan(connection, arguments.directory, arguments.share)
    _print(done)
    if done.status != scan_pb2.SCAN_STATUS_WARN:
        return 0
    for problem in scan.problems_of(connection, done.scan_id):
        print(f"{problem.dir_path} {problem.name}: {problem.reason}", file=sys.stderr)
    return 3


def run_audit(connection: Connection, arguments: argparse.Namespace) -> int:
    counts = audit.push_trail(connection, arguments.trail, arguments.share)
    _print(counts)
    return 3 if counts.refused else 0


def run_cursors(connection: Connection, arguments: argparse.Namespace) -> int:
    for cursor in audit.list_cursors(connection, arguments.share):
        _print(cursor)
    return 0


def run_cursor(connection: Connection, arguments: argparse.Namespace) -> int:
    cursor = audit.cursor_of(connection, arguments.share, arguments.log)
    if cursor is None:
        print(f"Nothing of {arguments.log} was read yet.", file=sys.stderr)
        return 1
    _print(cursor)
    return 0


def run_rule(connection: Connection, arguments: argparse.Namespace) -> int:
    spec = rule_pb2.RuleSpec(
        name=arguments.name,
        priority=arguments.priority,
        share_names=[arguments.share],
        expression=arguments.expression,
        target_uri=arguments.target,
    )
    _print(planner.apply_rule(connection, spec))
    return 0


def run_preview(connection: Connection, arguments: argparse.Namespace) -> int:
    answer = planner.preview(connection, arguments.share)
    _print(answer)
    return 3 if answer.refusals else 0


def run_plan(connection: Connection, arguments: argparse.Namespace) -> int:
    _print(planner.plan(connection, arguments.share))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="A client of Frostline.", epilog="The key is read from FROSTLINE_KEY.")
    parser.add_argument("--server", default=os.environ.get("FROSTLINE_SERVER", "127.0.0.1:50051"), help="host:port, or https://host:port")
    parser.add_argument("--ca", help="PEM file: whose signature under the server's certificate is trusted")
    commands = parser.add_subparsers(required=True, metavar="command")

    def command(name: str, run, words: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=words)
        added.add_argument("--share", required=True)
        added.set_defaults(run=run)
        return added

    command("scan", run_scan, "stream a full scan of a directory; scope agent").add_argument("directory")
    command("audit", run_audit, "push what an audit trail has that is new; scope agent").add_argument("trail")
    command("cursors", run_cursors, "how far all logs were read; scope reader or agent")
    command("cursor", run_cursor, "how far one log was read; scope reader or agent").add_argument("log")
    rule = command("rule", run_rule, "put a rule for the share in force; scope operator")
    rule.add_argument("--name", required=True)
    rule.add_argument("--priority", type=int, default=100)
    rule.add_argument("--expression", required=True, help="which files, in CEL")
    rule.add_argument("--target", required=True, help="URI: where its files go")
    command("preview", run_preview, "what a plan would take; scope reader")
    command("plan", run_plan, "plan the share; scope operator")
    return parser


def _print(message: Message) -> None:
    print(MessageToJson(message, indent=None, ensure_ascii=False))


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


if __name__ == "__main__":
    sys.exit(main())
