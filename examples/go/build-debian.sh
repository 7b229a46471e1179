#!/usr/bin/env bash
# Builds the client off-line, with the libraries that Debian packages: build-debian.sh PROGRAM
# Needs what generate.sh does, and golang-go, golang-google-grpc-dev and golang-google-protobuf-dev.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
program=$(realpath -m "${1:?the program to make}")

# Debian's libraries are no modules, but a GOPATH: this program has to lie in one too.
path=$(mktemp -d)
trap 'rm -rf "$path"' EXIT
source=$path/src/frostline.example/client
mkdir -p "$source"
cp "$here"/*.go "$source"
"$here/generate.sh" "$source/gen/frostlinev1"
cd "$source"
GO111MODULE=off GOPATH="$path:/usr/share/gocode" GOCACHE="${GOCACHE:-$path/cache}" go build -o "$program" .
