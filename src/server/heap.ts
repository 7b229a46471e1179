import { setFlagsFromString } from "node:v8";

/**
 * The old generation may grow by so much over what was alive after its last collection. V8's own choice on a large machine is up to
 * three times as much: a server that holds 60 MB of live objects then takes 340 MB. The size of the young generation, which goes with it,
 * is in the first line of bin/frostline.js (docs/adr/0047-the-heap-is-collected-sooner.md).
 */
const heapGrowingPercent = 60;

/** For the whole process, from the next collection on. */
export function collectSooner(): void {
  setFlagsFromString(`--heap-growing-percent=${heapGrowingPercent}`);
}
