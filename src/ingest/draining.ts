/** What the streams of agents end with when the server stops. */
import { DomainError } from "../errors.js";

export function draining(): DomainError {
  return new DomainError("UNAVAILABLE", "The server is stopping. Go on with another one, or with this one in a moment.", {
    reason: "SERVER_DRAINING",
    retryDelayMs: 500,
  });
}
