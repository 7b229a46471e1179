/** The command line's entry. */
import { runCommandLine } from "./cli/program.js";

await runCommandLine(process.argv);
