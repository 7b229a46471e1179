#!/usr/bin/env bash
# Makes the Go code of the contract: generate.sh [OUT], by default gen/frostlinev1 beside this file.
# Needs protoc, protoc-gen-go and protoc-gen-go-grpc on the PATH: Debian's protobuf-compiler, protoc-gen-go-1-5 and protoc-gen-go-grpc.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
proto=$here/../../proto
out=${1:-$here/gen/frostlinev1}
package=frostline.example/client/gen/frostlinev1

cd "$proto"
files=(frostline/v1/*.proto)
# The contract names no Go package, as it names none of any language.
options=(--go_opt="module=$package" --go-grpc_opt="module=$package")
for file in "${files[@]}"; do options+=(--go_opt="M$file=$package" --go-grpc_opt="M$file=$package"); done
mkdir -p "$out"
protoc -I. --go_out="$out" --go-grpc_out="$out" "${options[@]}" "${files[@]}"
