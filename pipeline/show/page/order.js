// Order: the mixture over training, at any zoom, beside what a random order would look like.

import { ask, data, el, full, many, percent, Region, sameElsewhere, say, stepsOf } from "./dom.js";
import { drawStrip, isOutside, LAYERS, readOf, sumOf } from "./strip.js";

export function makeOrder({ about, colours, go }) {
  const last = Math.max(about.num_steps ?? 1, 1);
  const known = new Set(about.sources);
  let view = { first: 1, last };
  let layers = new Set(["lengths", "repeats", "chunks"]);
  let answer = null;
  let charts = [];
  let timer = 0;
  const region = new Region();
  const first = el("input", { type: "number", min: "1", max: last, "aria-label": "First step" });
  const end = el("input", { type: "number", min: "1", max: last, "aria-label": "Last step" });
  const bar = el(
    "div",
    { class: "controls" },
    el(
      "form",
      {
        class: "group",
        onsubmit: (event) => {
          event.preventDefault();
          zoomTo(+first.value, +end.value);
        },
      },
      el("span", { class: "label" }, "Steps"),
      first,
      el("span", {}, "to"),
      end,
      el("button", {}, "Show"),
    ),
    el(
      "div",
      { class: "group", role: "group", "aria-label": "Zoom" },
      button("◀", "Earlier steps", () => pan(-1)),
      button("▶", "Later steps", () => pan(1)),
      button("+", "Zoom in", () => zoom(0.5)),
      button("−", "Zoom out", () => zoom(2)),
      button("Whole order", "Whole order", () => zoomTo(1, last)),
    ),
    el(
      "fieldset",
      { class: "group" },
      el("legend", { class: "hidden" }, "Layers"),
      LAYERS.map(([name, title, what]) =>
        el(
          "label",
          { title: what },
          el("input", {
            type: "checkbox",
            checked: true,
            onchange: (event) => {
              layers[event.target.checked ? "add" : "delete"](name);
              draw();
            },
          }),
          title,
        ),
      ),
    ),
  );
  const root = el("section", {}, el("h2", {}, "Order"), bar, region.root);

  function button(text, spoken, onclick) {
    return el("button", { type: "button", "aria-label": spoken, title: spoken, onclick }, text);
  }

  function zoomTo(from, to) {
    const low = Math.min(Math.max(Math.round(from) || 1, 1), last);
    const high = Math.min(Math.max(Math.round(to) || last, low), last);
    go("order", { ...(low > 1 || high < last ? { first: low, last: high } : {}), source: view.source });
  }

  function zoom(factor) {
    const width = Math.max((view.last - view.first + 1) * factor, 1);
    const middle = (view.first + view.last) / 2;
    const from = Math.max(1, Math.min(middle - width / 2 + 0.5, last - width + 1));
    zoomTo(from, from + width - 1);
  }

  function pan(direction) {
    const width = view.last - view.first + 1;
    const from = Math.max(
      1,
      Math.min(view.first + direction * Math.max(Math.round(width / 2), 1), last - width + 1),
    );
    zoomTo(from, from + width - 1);
  }

  async function show(parameters, signal) {
    clearTimeout(timer);
    view = { first: +parameters.first || 1, last: +parameters.last || last, source: parameters.source };
    first.value = view.first;
    end.value = view.last;
    await region.fill(async () => {
      answer = null;
      answer = await ask("order", question(), signal);
      return body();
    }, signal);
    if (signal.aborted) return;
    draw();
    if (answer?.is_sampled) refineLater(signal, 1500);
  }

  const question = () => ({
    first: view.first,
    last: view.last,
    columns: Math.max(60, Math.min(480, Math.round(root.clientWidth / 4))),
    source: view.source,
  });

  /** Ask again, ever more seldom, until the server has counted every row; only then draw anew. */
  function refineLater(signal, wait) {
    timer = setTimeout(async () => {
      const next = await ask("order", question(), signal).catch(() => null);
      if (!next || signal.aborted) return;
      if (next.is_sampled) {
        region.root.querySelector(".sampled")?.replaceWith(sampled(next));
        return refineLater(signal, Math.min(2 * wait, 30_000));
      }
      answer = next;
      await region.fill(async () => body(), signal);
      draw();
    }, wait);
  }

  function sampled({ columns, exact_done: done, exact_problem: problem }) {
    const counted = columns.reduce((sum, one) => sum + one.rows_read, 0);
    const unread = columns.filter((one) => one.rows_read === 0).length;
    return el(
      "strong",
      { class: "sampled" },
      `Estimated from ${full(counted)} of them${unread ? `, in ${full(columns.length - unread)} columns that are drawn up to the next` : ""}; `,
      problem
        ? ["they cannot all be counted: ", data(problem)]
        : ["exact counts follow", done > 0 && `, ${Math.floor(done * 100)} % are there`, "."],
    );
  }

  let holders = {};
  let live = [];
  const hereHead = el("th", { scope: "col", class: "here" });

  function body() {
    const shown = answer.shown ?? about.sources;
    answer.drawn = readOf(answer.columns);
    const columns = answer.drawn;
    if (!columns.length) return [el("p", { class: "empty" }, "No row of this range could be read in time.")];
    const totals = shown.map((_, index) => columns.reduce((sum, one) => sum + one.tokens[index], 0));
    const all = columns.reduce((sum, one) => sum + sumOf(one), 0);
    // The last one may stand for all others together.
    answer.ranked = shown
      .map((name, index) => ({ name, index, share: totals[index] / all, expected: answer.expected?.[index] }))
      .filter(({ name }) => known.has(name))
      .sort((a, b) => (b.expected?.share ?? b.share) - (a.expected?.share ?? a.share) || a.index - b.index);
    for (const one of answer.ranked) one.colour = colours.of(one.name);
    const watched = answer.ranked.filter((one) => !view.source || one.name === view.source);
    answer.unusual = columns.flatMap((one, column) =>
      watched.some((source) => isOutside(source, one)) ? [column] : [],
    );
    answer.byChance = Math.round(columns.length * (1 - 0.99 ** watched.length));
    holders = Object.fromEntries(
      ["shares", ...LAYERS.map(([name]) => name)].map((name) => [name, el("div", { class: "chart" })]),
    );
    const rows = answer.columns.reduce((sum, one) => sum + one.num_rows, 0);
    return [
      el(
        "p",
        { class: "lead" },
        `Steps ${full(answer.first)} to ${full(answer.last)}, ${many(rows, "row")}, in ${many(answer.columns.length, "column")}. `,
        answer.is_sampled ? sampled(answer) : "Every row is counted.",
      ),
      el(
        "div",
        { class: "strip" },
        el(
          "div",
          {
            class: "charts",
            tabindex: "0",
            role: "group",
            "aria-label": `Shares of sources over steps ${answer.first} to ${answer.last}. Arrow keys move, plus and minus zoom. The same is in the table below.`,
          },
          el("h3", {}, view.source ? ["Share of ", data(view.source)] : "Share of tokens by source"),
          holders.shares,
          LAYERS.map(([name, title, what]) =>
            el(
              "div",
              { class: "layer", "data-layer": name },
              el("h3", {}, title, el("span", { class: "soft" }, " ", what)),
              holders[name],
            ),
          ),
        ),
        legend(),
      ),
      table(),
      sameElsewhere(answer),
    ];
  }

  function legend() {
    const rows = answer.ranked.map((one) =>
      el(
        "tr",
        { "aria-selected": one.name === view.source ? "true" : null },
        el(
          "th",
          { scope: "row" },
          el(
            "button",
            {
              type: "button",
              class: "source",
              "aria-pressed": String(one.name === view.source),
              title: "Show this source alone, with its band",
              onclick: () => select(one.name),
            },
            el("i", { class: `swatch ${one.colour}` }),
            data(one.name),
          ),
        ),
        el("td", { class: "here" }),
        el("td", {}, percent(one.share)),
        el(
          "td",
          { class: "soft" },
          one.expected ? `${percent(one.expected.low)} – ${percent(one.expected.high)}` : "–",
        ),
      ),
    );
    hereHead.replaceChildren("Here");
    live = rows.map((row) => row.querySelector(".here"));
    const filter = el("input", {
      type: "search",
      placeholder: "Filter sources",
      "aria-label": "Filter sources",
      oninput: () => narrow(),
    });
    function narrow() {
      const text = filter.value.toLowerCase();
      rows.forEach((row, at) => {
        row.hidden = text ? !answer.ranked[at].name.toLowerCase().includes(text) : at >= 40;
      });
    }
    narrow();
    const rest = about.sources.length - answer.ranked.length;
    return el(
      "div",
      { class: "legend" },
      answer.ranked.length > 12 && filter,
      el(
        "div",
        { class: "scroll", tabindex: "0", role: "region", "aria-label": "Sources" },
        el(
          "table",
          {},
          el(
            "thead",
            {},
            el(
              "tr",
              {},
              el("th", { scope: "col" }, "Source"),
              hereHead,
              el("th", { scope: "col" }, "In view"),
              el("th", { scope: "col" }, "Expected"),
            ),
          ),
          el("tbody", {}, rows),
        ),
      ),
      rest > 0 && el("p", { class: "soft" }, `and ${many(rest, "source")} in the rest`),
      el(
        "p",
        { class: "soft" },
        el("i", { class: "swatch unusual" }),
        `In ${many(answer.unusual.length, "column")} of ${full(answer.drawn.length)} `,
        view.source ? data(view.source) : "a source",
        ` is outside of the band that holds it in 99 of 100 columns of a random order. Chance alone makes it about ${full(answer.byChance)}.`,
      ),
    );
  }

  function select(name) {
    go("order", {
      ...(view.first > 1 || view.last < last ? { first: view.first, last: view.last } : {}),
      source: name === view.source ? null : name,
    });
  }

  function table() {
    const box = el(
      "details",
      {
        class: "as-table",
        ontoggle: () => {
          if (box.open && box.childElementCount === 1) box.append(rows());
        },
      },
      el("summary", {}, "The same as a table"),
    );
    const top = answer.ranked.filter((one) => one.colour !== "source-rest");
    const rows = () =>
      el(
        "div",
        { class: "scroll", tabindex: "0", role: "region", "aria-label": "Columns of the order" },
        el(
          "table",
          {},
          el(
            "thead",
            {},
            el(
              "tr",
              {},
              [
                "Steps",
                "Rows",
                ...top.map((one) => data(one.name)),
                "Mean length",
                "Repeats",
                "Later chunks",
              ].map((one) => el("th", { scope: "col" }, one)),
            ),
          ),
          el(
            "tbody",
            {},
            answer.columns.map((one) => {
              const sum = sumOf(one);
              return el(
                "tr",
                {},
                el("th", { scope: "row" }, stepsOf(one)),
                el("td", {}, full(one.num_rows)),
                top.map(({ index }) =>
                  el("td", {}, one.rows_read ? percent(one.tokens[index] / sum) : "not read"),
                ),
                el("td", {}, one.mean_length == null ? "–" : full(Math.round(one.mean_length))),
                el("td", {}, full(one.repeated_rows)),
                el("td", {}, full(one.later_chunks)),
              );
            }),
          ),
        ),
      );
    return box;
  }

  function draw() {
    charts.forEach((one) => one.destroy());
    charts = [];
    if (!answer?.drawn?.length || !holders.shares?.isConnected || root.hidden) return;
    const common = { sync: "order", onZoom: zoomTo, onStep: (step) => go("step", { step }), onHover: hover };
    const alone = answer.ranked.find((one) => one.name === view.source);
    charts = drawStrip(holders, answer, layers, alone, common);
  }

  function hover(column) {
    const one = column == null ? null : answer.drawn[column];
    hereHead.replaceChildren(one ? `Step ${stepsOf(one)}` : "Here");
    const sum = one ? sumOf(one) : 1;
    answer.ranked.slice(0, 40).forEach((source, at) => {
      live[at].replaceChildren(one ? percent(one.tokens[source.index] / sum) : "");
      live[at].classList.toggle("outside", Boolean(one) && isOutside(source, one));
    });
  }

  addEventListener("themechange", draw);
  return {
    root,
    show,
    onKey(key) {
      const actions = {
        ArrowLeft: () => pan(-1),
        ArrowRight: () => pan(1),
        "+": () => zoom(0.5),
        "=": () => zoom(0.5),
        "-": () => zoom(2),
        0: () => zoomTo(1, last),
      };
      if (!actions[key]) return false;
      actions[key]();
      say(`Steps ${view.first} to ${view.last}`);
      return true;
    },
  };
}
