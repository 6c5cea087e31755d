// Colours of sources, the same in every panel and in reports.

/** The colours of sources: the largest, largest first, have one each, all others one together. */
export function makeColours({ sources, largest }) {
  const known = new Set(sources);
  const places = new Map(largest.map((name, place) => [name, place]));
  return {
    /** The class of a source's colour; null for what is no source. */
    of(name) {
      if (places.has(name)) return `source-${places.get(name) + 1}`;
      return known.has(name) ? "source-rest" : null;
    },
  };
}
