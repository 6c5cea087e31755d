// A flow from sources to steps, as bands whose width is their number of tokens.

import { el, full, plain, percent, short, svg } from "./dom.js";

/** The picture of an answer; `colourOf(name, isSource)` is the class of a node's colour. */
export function flowPicture({ width, height, nodes, bands }, colourOf) {
  if (!bands.length) return el("p", { class: "empty" }, "No tokens flow.");
  const total = Math.max(...nodes.map((one) => one.tokens), 1);
  const curves = bands.map((one) =>
    svg(
      "path",
      { class: `flow ${colourOf(one.from, one.is_source)}`, d: one.path, "stroke-width": one.width },
      svg("title", {}, plain(`${one.from} → ${one.to}: ${full(one.tokens)} tokens`)),
    ),
  );
  const boxes = nodes.map((one) =>
    svg(
      "g",
      {},
      svg(
        "rect",
        {
          class: `node ${colourOf(one.name, one.is_source)}`,
          x: one.x,
          y: one.y,
          width: one.width,
          height: one.height,
          rx: 1.5,
        },
        svg("title", {}, plain(`${one.name}: ${full(one.tokens)} tokens`)),
      ),
      svg(
        "text",
        {
          class: "node-name",
          x: one.is_last ? one.x - 6 : one.x + one.width + 6,
          y: one.y + one.height / 2,
          "text-anchor": one.is_last ? "end" : "start",
          "dominant-baseline": "central",
        },
        plain(one.name.length > 26 ? `${one.name.slice(0, 25)}…` : one.name),
        svg("tspan", { class: "node-size", dx: 6 }, short(one.tokens)),
      ),
    ),
  );
  return el(
    "div",
    { class: "scroll flow-box", tabindex: "0", role: "region", "aria-label": "Flow of tokens" },
    svg(
      "svg",
      {
        viewBox: `0 -8 ${width} ${height + 16}`,
        role: "img",
        "aria-label": plain(
          `Tokens from sources to steps: ${bands
            .slice(0, 20)
            .map((one) => `${one.from} to ${one.to} ${short(one.tokens)}, ${percent(one.tokens / total)}`)
            .join("; ")}`,
        ),
      },
      curves,
      boxes,
    ),
  );
}
