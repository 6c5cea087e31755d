// The charts of the Order panel, over one another with one cursor.

import { el, full, tick } from "./dom.js";
import { colour, drawCheckpoints, drawMarks, makeChart, series, stepped } from "./chart.js";

/** What may be shown below the shares: [name, title, what it is]. */
export const LAYERS = [
  ["lengths", "Lengths", "tokens of a row: shortest, mean, longest"],
  ["repeats", "Repeats", "rows whose chunk came before"],
  ["chunks", "Chunk position", "rows that are not the first chunk of their document"],
];

/** How many tokens a column has. */
export const sumOf = (column) => column.tokens.reduce((a, b) => a + b, 0) || 1;

/** Whether the share that a source has of a column is outside of its band. */
export function isOutside({ index, expected }, column) {
  const share = column.tokens[index] / sumOf(column);
  return Boolean(expected) && (share < expected.low || share > expected.high);
}

/** Columns of which rows were read, each reaching to the next: what is drawn of an estimate. */
export function readOf(columns) {
  const read = columns.filter((one) => one.rows_read > 0);
  return read.map((one, at) => ({
    ...one,
    first_step: at > 0 ? one.first_step : columns[0].first_step,
    last_step: at + 1 < read.length ? read[at + 1].first_step - 1 : columns.at(-1).last_step,
  }));
}

/** Draw the layers that are chosen into their holders; `common` is what all charts take. */
export function drawStrip(holders, answer, layers, alone, common) {
  const columns = answer.drawn;
  const charts = [drawShares(holders.shares, answer, alone, common)];
  const read = (one) => one.rows_read || 1;
  const drawn = {
    lengths: () => drawLengths(holders.lengths, columns, common),
    repeats: () => drawShare(holders.repeats, columns, (one) => one.repeated_rows / read(one), common),
    chunks: () => drawShare(holders.chunks, columns, (one) => one.later_chunks / read(one), common),
  };
  for (const [name] of LAYERS) {
    holders[name].parentElement.hidden = !layers.has(name);
    const isKnown = name !== "repeats" || columns.some((one) => one.repeated_rows != null);
    if (!isKnown) holders[name].replaceChildren(el("p", { class: "soft" }, "Not counted here."));
    else if (layers.has(name)) charts.push(drawn[name]());
  }
  return charts;
}

function drawLengths(holder, columns, common) {
  return makeChart(holder, {
    ...common,
    height: 110,
    axisX: false,
    format: full,
    data: stepped(
      columns,
      columns.map((one) => one.max_length),
      columns.map((one) => one.min_length),
      columns.map((one) => one.mean_length),
    ),
    series: [
      series({ stroke: colour("line-strong") }),
      series({ stroke: colour("line-strong") }),
      series({ stroke: colour("accent"), width: 2 }),
    ],
    bands: [{ series: [1, 2], fill: colour("band") }],
  });
}

function drawShare(holder, columns, of, common) {
  return makeChart(holder, {
    ...common,
    height: 90,
    axisX: false,
    format: tick,
    data: stepped(columns, columns.map(of)),
    series: [series({ stroke: colour("accent"), fill: colour("band"), width: 1.5 })],
  });
}

function drawShares(holder, answer, alone, common) {
  const draw = (plot) => {
    drawMarks(plot, plot.data[0], answer.unusual, "unusual");
    drawCheckpoints(plot, answer.checkpoints ?? []);
  };
  const options = { ...common, height: 280, format: tick, draw };
  return alone ? drawAlone(holder, answer.drawn, alone, options) : drawStack(holder, answer, options);
}

/** One source, its share over the whole order, and the band of a random one. */
function drawAlone(holder, columns, { index, expected, colour: name }, options) {
  const all = (value) => columns.map(() => value ?? null);
  return makeChart(holder, {
    ...options,
    // Near the band, so that what leaves it is seen.
    range: (_, low, high) => [Math.max(0, low - (high - low) * 0.15), high + (high - low) * 0.15 || 1],
    data: stepped(
      columns,
      all(expected?.high),
      all(expected?.low),
      all(expected?.share),
      columns.map((one) => one.tokens[index] / sumOf(one)),
    ),
    series: [
      series({ stroke: colour("line-strong") }),
      series({ stroke: colour("line-strong") }),
      series({ stroke: colour("ink-soft"), dash: [6, 4] }),
      series({ stroke: colour(name === "source-rest" ? "ink" : name), width: 2 }),
    ],
    bands: [{ series: [1, 2], fill: colour("band") }],
  });
}

/** Shares of all sources, from the top of the stack down, each filled to 0 over the one before. */
function drawStack(holder, { drawn: columns, ranked }, options) {
  const stack = [];
  let below = columns.map(() => 0);
  for (const { index, colour: name } of ranked.filter((one) => one.colour !== "source-rest")) {
    below = below.map((sum, at) => sum + columns[at].tokens[index] / sumOf(columns[at]));
    stack.unshift({ values: below, name });
  }
  if (below.some((sum) => sum < 1 - 1e-9))
    stack.unshift({ values: columns.map(() => 1), name: "source-rest" });
  const gap = colour("page");
  return makeChart(holder, {
    ...options,
    range: [0, 1],
    data: stepped(columns, ...stack.map((one) => one.values)),
    series: stack.map((one) =>
      series({ fill: colour(one.name), stroke: gap, width: columns.length > 200 ? 0.5 : 1 }),
    ),
  });
}
