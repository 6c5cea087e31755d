// Colours of sources, the same in every panel.

/** The first sources have a colour each, all others one together. */
export const NUM_COLOURS = 10;

/** The colours of sources; of many, those that the first panel to know ranks largest have one. */
export function makeColours(sources) {
  const known = new Set(sources);
  let places = sources.length <= NUM_COLOURS ? placesOf(sources) : null;
  return {
    /** Tell which sources are largest, largest first. */
    rank(names) {
      places ??= placesOf(names);
    },
    /** The class of a source's colour; null for what is no source. */
    of(name) {
      const place = places?.get(name);
      if (place !== undefined && place < NUM_COLOURS) return `source-${place + 1}`;
      return known.has(name) ? "source-rest" : null;
    },
  };
}

const placesOf = (names) => new Map(names.map((name, place) => [name, place]));
