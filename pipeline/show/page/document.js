// Document: all its chunks, the steps that saw them, what no step saw, and its record.

import { address, ask, data, el, full, link, many, Region, rowLink, sameElsewhere, stepLink } from "./dom.js";

export function makeDocument({ about, go }) {
  const region = new Region();
  const source = el("input", {
    "aria-label": "Source",
    placeholder: "source",
    list: "source-names",
    size: "18",
  });
  const name = el("input", {
    "aria-label": "Document",
    placeholder: "id of a document",
    size: "28",
    dir: "auto",
  });
  const names = el(
    "datalist",
    { id: "source-names" },
    about.sources.slice(0, 500).map((one) => el("option", { value: one })),
  );
  const bar = el(
    "form",
    {
      class: "controls",
      onsubmit: (event) => {
        event.preventDefault();
        go("document", { source: source.value, document: name.value });
      },
    },
    el("div", { class: "group" }, el("span", { class: "label" }, "Source"), source, names),
    el("div", { class: "group" }, el("span", { class: "label" }, "Document"), name, el("button", {}, "Show")),
  );
  const root = el("section", {}, el("h2", {}, "Document"), bar, region.root);

  async function show(parameters, signal) {
    source.value = parameters.source ?? "";
    name.value = parameters.document ?? "";
    if (!parameters.document) {
      region.root.replaceChildren(
        el(
          "p",
          { class: "empty" },
          "Name a document, or choose one from the rows of ",
          link("step", {}, "a step"),
          " or from what ",
          link("search", {}, "a search"),
          " finds.",
        ),
      );
      return;
    }
    await region.fill(
      async () =>
        body(await ask("document", { source: parameters.source, document: parameters.document }, signal)),
      signal,
    );
  }

  function body(answer) {
    const seen = answer.rows;
    const missing = answer.num_missing ?? answer.missing_chunks.length;
    const first = seen.length ? seen.reduce((a, b) => (a.row < b.row ? a : b)) : null;
    const numChunks = Math.max(
      0,
      ...seen.map((one) => one.num_chunks ?? one.chunk + 1),
      ...answer.missing_chunks.map((one) => one + 1),
    );
    return [
      el(
        "p",
        { class: "lead" },
        data(answer.document, "title"),
        " of ",
        data(answer.source),
        answer.file && [", file ", data(answer.file)],
      ),
      el(
        "p",
        {},
        seen.length ? `Seen in ${many(answer.num_rows ?? seen.length, "row")}` : "In no row of this order",
        first && [
          ", first at step ",
          stepLink(first.step),
          first.checkpoint && ["; first checkpoint that saw it: ", data(first.checkpoint)],
        ],
        answer.repeats > 0 ? `; ${many(answer.repeats, "row")} repeat a chunk` : "",
        missing > 0 ? `; ${many(missing, "chunk")} in no row` : "",
        ".",
      ),
      answer.sources?.length > 1 &&
        el(
          "p",
          {},
          "Other sources have a document of this id: ",
          answer.sources
            .filter((one) => one !== answer.source)
            .map((one, at) => [
              at > 0 && ", ",
              link("document", { source: one, document: answer.document }, data(one)),
            ]),
          ".",
        ),
      numChunks > 0 && chunkPicture(answer, numChunks),
      seen.length > 0 && whenPicture(seen),
      seen.length > 0 &&
        el(
          "div",
          { class: "scroll", tabindex: "0", role: "region", "aria-label": "Rows of the document" },
          el(
            "table",
            {},
            el(
              "thead",
              {},
              el(
                "tr",
                {},
                ["Row", "Step", "Chunk", "Tokens", "First checkpoint that saw it"].map((one) =>
                  el("th", { scope: "col" }, one),
                ),
              ),
            ),
            el(
              "tbody",
              {},
              seen
                .slice(0, 1000)
                .map((one) =>
                  el(
                    "tr",
                    {},
                    el("th", { scope: "row" }, rowLink(one.row, one.step)),
                    el("td", {}, stepLink(one.step)),
                    el("td", {}, `${full(one.chunk + 1)} of ${full(one.num_chunks)}`),
                    el("td", {}, full(one.num_tokens)),
                    el("td", {}, one.checkpoint ? data(one.checkpoint) : "–"),
                  ),
                ),
            ),
          ),
        ),
      (answer.num_rows ?? seen.length) > Math.min(seen.length, 1000) &&
        el(
          "p",
          { class: "soft" },
          `The first ${full(Math.min(seen.length, 1000))} of ${full(answer.num_rows ?? seen.length)} rows.`,
        ),
      el("h3", {}, "Record"),
      answer.record
        ? record(answer.record)
        : el(
            "div",
            { class: "problem" },
            el("p", {}, data(answer.record_problem ?? "The record cannot be read here")),
          ),
      sameElsewhere(answer),
    ];
  }

  /** One box for each chunk: seen, seen more than once, or in no row. */
  function chunkPicture(answer, numChunks) {
    const times = new Map();
    for (const one of answer.rows) times.set(one.chunk, (times.get(one.chunk) ?? 0) + 1);
    const shown = Math.min(numChunks, 400);
    const boxes = Array.from({ length: shown }, (_, chunk) => {
      const count = times.get(chunk) ?? 0;
      return el(
        "li",
        {
          class: count > 1 ? "again" : count ? "seen" : "missing",
          title: `chunk ${chunk + 1}: ${count ? many(count, "row") : "in no row"}`,
        },
        el("span", {}, full(chunk + 1)),
        count > 1 ? el("b", {}, `×${count}`) : "",
      );
    });
    return el(
      "figure",
      {},
      el(
        "figcaption",
        {},
        "Chunks: ",
        el("span", { class: "key seen" }, "seen"),
        el("span", { class: "key again" }, "seen again"),
        el("span", { class: "key missing" }, "in no row: discarded, not sampled or held back"),
      ),
      el("ol", { class: "chunks" }, boxes),
      numChunks > shown &&
        el("p", { class: "soft" }, `The first ${full(shown)} of ${full(numChunks)} chunks.`),
    );
  }

  /** Where in training the document was seen. */
  function whenPicture(seen) {
    const last = Math.max(about.num_steps ?? 1, 1);
    const line = el(
      "div",
      { class: "when", "aria-hidden": "true" },
      seen.slice(0, 1000).map((one) => {
        const mark = el("a", {
          href: address("step", { step: one.step, row: one.row }),
          title: `step ${full(one.step)}`,
          tabindex: "-1",
        });
        mark.style.setProperty("--at", (one.step - 0.5) / last);
        return mark;
      }),
    );
    return el(
      "figure",
      {},
      el("figcaption", {}, "When in training"),
      line,
      el("div", { class: "ends soft" }, el("span", {}, "step 1"), el("span", {}, `step ${full(last)}`)),
    );
  }

  function record({ text, metadata, is_cut: isCut }) {
    const limit = 20000;
    const box = el(
      "pre",
      { class: "record", tabindex: "0", "aria-label": "Text of the record", dir: "auto" },
      el("bdi", {}, text.slice(0, limit)),
    );
    const rest = Object.entries(metadata ?? {});
    return [
      rest.length > 0 &&
        el(
          "dl",
          { class: "facts-list" },
          rest.map(([key, value]) =>
            el(
              "div",
              {},
              el("dt", {}, data(key)),
              el("dd", {}, data(typeof value === "string" ? value : JSON.stringify(value))),
            ),
          ),
        ),
      box,
      isCut &&
        el(
          "p",
          { class: "soft" },
          `The record is longer; the server gives its first ${full(text.length)} characters.`,
        ),
      text.length > limit &&
        el(
          "p",
          { class: "soft" },
          `The first ${full(limit)} of ${full(text.length)} characters. `,
          el(
            "button",
            {
              type: "button",
              onclick: (event) => {
                box.replaceChildren(el("bdi", {}, text.slice(0, 2_000_000)));
                event.target.remove();
              },
            },
            "Show more",
          ),
        ),
    ];
  }

  return { root, show };
}
