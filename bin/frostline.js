#!/usr/bin/env -S node --max-semi-space-size=8
// The young generation: can be set nowhere else (docs/adr/0047-the-heap-is-collected-sooner.md).
// CommonJS (see package.json beside it): by the time an ES module runs, loading it has started Node's threads, in their default number.
// Every open, read and stat of a share over the network waits in one of them; 4 keep such a share waiting most of the time.
process.env.UV_THREADPOOL_SIZE ??= "16";
import("../dist/main.js");
