/** examples/go, with Debian's Go and its libraries. */
import * as fs from "node:fs";
import * as path from "node:path";
import { packageRoot } from "../../src/db/embedded.js";
import { type ProgramClient, runProgram } from "./program.js";
import { build, onPath } from "./tools.js";

const example = path.join(packageRoot, "examples", "go");
/** Kept, because gRPC's own packages take most of the time. */
const cache = path.join(packageRoot, "node_modules", ".cache", "go-build");
const libraries = ["google.golang.org/grpc", "google.golang.org/protobuf"];

export const go: ProgramClient = {
  name: "Go",
  missing() {
    const there = libraries.every((library) => fs.existsSync(path.join("/usr/share/gocode/src", library)));
    if (there && ["go", "protoc", "protoc-gen-go", "protoc-gen-go-grpc"].every(onPath)) return undefined;
    return "Debian's golang-go, golang-google-grpc-dev, golang-google-protobuf-dev, protobuf-compiler, protoc-gen-go-1-5 and protoc-gen-go-grpc";
  },
  build(scratch) {
    const program = path.join(scratch, "client");
    build(path.join(example, "build-debian.sh"), [program], { env: { GOCACHE: cache } });
    return { file: program, args: [], env: {} };
  },
  run: async (scenario) => runProgram(scenario, go.build(scenario.scratch)),
};
