/** What webhooks may take, and for how long. */

export const webhooksOfTenantAtMost = 50;
/** HTTP requests of a server. A receiver that hangs holds its own for `requestMs`, and nobody else's: the bounds below are smaller. */
export const requestsAtMost = 64;
export const requestsOfTenantAtMost = 16;
export const requestsOfWebhookAtMost = 4;
/** Threads that look names up: of the process's 16 (bin/frostline.js), files and the database's name need some as well. */
export const lookupsAtMost = 6;
export const lookupsOfTenantAtMost = 2;
/** From the look-up of the name to the end of the answer's headers. */
export const requestMs = 15_000;
/** An attempt that nobody has recorded by then was lost with its server. Longer than a request and its two transactions. */
export const leaseSeconds = 60;
/** Of an answer's body nobody reads more. */
export const answerSizeBytesAtMost = 16 * 1024;
/** A receiver that asks to wait longer is tried all the same. */
export const retryAfterSecondsAtMost = 86_400;
/** Added to each wait at random, so that messages which failed together do not come back together. */
export const jitter = 0.2;
/** Accesses in one message. */
export const accessesOfMessageAtMost = 100;
/** A webhook that has so many messages waiting is told of further accesses when there are fewer; until then they stay where they are. */
export const pendingAtMost = 1000;
/** Accesses looked at in one transaction. */
export const pageEvents = 5000;
/** Days. */
export const keepDeliveredDays = 7;
export const keepDeadDays = 30;
