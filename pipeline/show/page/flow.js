// A flow from sources to steps, as bands whose width is their number of tokens.

import { el, full, plain, percent, short, svg } from "./dom.js";

const WIDTH = 900;
const NODE = 12;
const GAP = 7;
const TOP = 12;
const LINE = 17;

/** Flows of the `top` largest sources by name, and of all others as one. */
export function fold(flows, sources, top = TOP) {
  const names = new Set(sources);
  const size = new Map();
  for (const one of flows)
    if (names.has(one.from)) size.set(one.from, (size.get(one.from) ?? 0) + one.tokens);
  const kept = new Set(
    [...size]
      .sort((a, b) => b[1] - a[1])
      .slice(0, top)
      .map(([name]) => name),
  );
  const rest = size.size > kept.size ? `${full(size.size - kept.size)} other sources` : null;
  const sums = new Map();
  for (const { from, to, tokens } of flows) {
    const start = names.has(from) && !kept.has(from) ? rest : from;
    const end = names.has(to) && !kept.has(to) ? rest : to;
    const key = JSON.stringify([start, end]);
    sums.set(key, (sums.get(key) ?? 0) + tokens);
  }
  return [...sums]
    .filter(([, tokens]) => tokens > 0)
    .map(([key, tokens]) => ({ from: JSON.parse(key)[0], to: JSON.parse(key)[1], tokens }));
}

/** Nodes with their column, the longest way from a start; and their place in it. */
function place(flows, height) {
  const nodes = new Map();
  const node = (name) => nodes.get(name) ?? nodes.set(name, { name, column: 0, in: 0, out: 0 }).get(name);
  for (const one of flows) {
    node(one.from).out += one.tokens;
    node(one.to).in += one.tokens;
  }
  // As many passes as there may be columns: a circle would never end otherwise.
  for (let pass = 0; pass < 6; pass++)
    for (const one of flows)
      node(one.to).column = Math.min(6, Math.max(node(one.to).column, node(one.from).column + 1));
  const columns = [];
  for (const one of nodes.values()) (columns[one.column] ??= []).push(one);
  const filled = columns.filter(Boolean);
  const scale = Math.min(
    ...filled.map(
      (list) =>
        (height - GAP * (list.length - 1)) / list.reduce((sum, one) => sum + Math.max(one.in, one.out), 0),
    ),
  );
  filled.forEach((list, at) => {
    list.sort((a, b) => Math.max(b.in, b.out) - Math.max(a.in, a.out));
    let y = 0;
    for (const one of list) {
      one.x = filled.length > 1 ? (at * (WIDTH - NODE)) / (filled.length - 1) : 0;
      one.y = y;
      one.size = Math.max(Math.max(one.in, one.out) * scale, 1);
      one.isLast = at === filled.length - 1;
      y += Math.max(one.size + GAP, LINE);
    }
  });
  return {
    nodes,
    scale,
    height: Math.max(...filled.map((list) => list.at(-1).y + Math.max(list.at(-1).size, LINE))),
  };
}

/** The picture; `colourOf(name)` is the class of a node's colour. */
export function flowPicture(all, sources, colourOf) {
  const flows = fold(all, sources);
  if (!flows.length) return el("p", { class: "empty" }, "No tokens flow.");
  const { nodes, scale, height } = place(flows, 360);
  const out = new Map();
  const into = new Map();
  const order = (a, b) => nodes.get(a.from).y - nodes.get(b.from).y || nodes.get(a.to).y - nodes.get(b.to).y;
  const total = Math.max(...[...nodes.values()].map((one) => one.in), 1);
  const bands = flows.sort(order).map((one) => {
    const [from, to] = [nodes.get(one.from), nodes.get(one.to)];
    const width = Math.max(one.tokens * scale, 0.75);
    const y0 = from.y + (out.get(one.from) ?? 0) + width / 2;
    const y1 = to.y + (into.get(one.to) ?? 0) + width / 2;
    out.set(one.from, (out.get(one.from) ?? 0) + width);
    into.set(one.to, (into.get(one.to) ?? 0) + width);
    const [x0, x1] = [from.x + NODE, to.x];
    const middle = (x0 + x1) / 2;
    return svg(
      "path",
      {
        class: `flow ${colourOf(one.from)}`,
        d: `M${x0},${y0} C${middle},${y0} ${middle},${y1} ${x1},${y1}`,
        "stroke-width": width,
      },
      svg("title", {}, plain(`${one.from} → ${one.to}: ${full(one.tokens)} tokens`)),
    );
  });
  const boxes = [...nodes.values()].map((one) =>
    svg(
      "g",
      {},
      svg(
        "rect",
        { class: `node ${colourOf(one.name)}`, x: one.x, y: one.y, width: NODE, height: one.size, rx: 1.5 },
        svg("title", {}, plain(`${one.name}: ${full(Math.max(one.in, one.out))} tokens`)),
      ),
      svg(
        "text",
        {
          class: "node-name",
          x: one.isLast ? one.x - 6 : one.x + NODE + 6,
          y: one.y + one.size / 2,
          "text-anchor": one.isLast ? "end" : "start",
          "dominant-baseline": "central",
        },
        plain(one.name.length > 26 ? `${one.name.slice(0, 25)}…` : one.name),
        svg("tspan", { class: "node-size", dx: 6 }, short(Math.max(one.in, one.out))),
      ),
    ),
  );
  return el(
    "div",
    { class: "scroll flow-box", tabindex: "0", role: "region", "aria-label": "Flow of tokens" },
    svg(
      "svg",
      {
        viewBox: `0 -8 ${WIDTH} ${height + 16}`,
        role: "img",
        "aria-label": plain(
          `Tokens from sources to steps: ${flows
            .slice(0, 20)
            .map((one) => `${one.from} to ${one.to} ${short(one.tokens)}, ${percent(one.tokens / total)}`)
            .join("; ")}`,
        ),
      },
      bands,
      boxes,
    ),
  );
}
