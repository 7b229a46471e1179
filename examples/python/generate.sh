#!/usr/bin/env bash
# Makes the Python code of the contract: generate.sh [OUT], by default gen/ beside this file.
# Needs Debian's protobuf-compiler and protobuf-compiler-grpc (or any protoc with grpc_python_plugin on the PATH).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
proto=$here/../../proto
out=${1:-$here/gen}

mkdir -p "$out"
(cd "$proto" && find frostline -name '*.proto' -print0) |
  xargs -0 protoc -I"$proto" --python_out="$out" --grpc_python_out="$out" \
    --plugin=protoc-gen-grpc_python="$(command -v grpc_python_plugin)"
protoc -I"$here" --python_out="$out" status_details.proto
