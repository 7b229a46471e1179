/** Lets a source run ahead of its consumer. */

/**
 * Yields what `source` yields, with up to `depth` items taken from it in advance. An error comes in its turn; leaving early ends the source.
 */
export async function* prefetch<T>(source: AsyncIterable<T>, depth: number): AsyncGenerator<T> {
  const iterator = source[Symbol.asyncIterator]();
  const ready: Promise<IteratorResult<T>>[] = [];
  const take = () => {
    // An async generator answers its calls in order, also when several are waiting.
    const next = iterator.next();
    next.catch(() => {});
    ready.push(next);
  };
  try {
    for (let i = 0; i < depth; i++) take();
    for (let next = ready.shift(); next !== undefined; next = ready.shift()) {
      const result = await next;
      if (result.done === true) return;
      take();
      yield result.value;
    }
  } finally {
    await iterator.return?.();
  }
}
