// Search: a text -> its rows, documents and steps, and how often it came over training.

import {
  ask,
  data,
  el,
  flat,
  full,
  link,
  Region,
  rowLink,
  sameElsewhere,
  say,
  stepLink,
  stepsOf,
} from "./dom.js";
import { colour, drawCheckpoints, makeChart, series, stepped } from "./chart.js";

const PAUSE_MS = 300;

export function makeSearch({ about, go }) {
  const region = new Region();
  const input = el("input", {
    type: "search",
    "aria-label": "Text to search for",
    placeholder: "a word, or a whole sentence",
    dir: "auto",
    spellcheck: "false",
  });
  const bar = el(
    "form",
    {
      class: "controls search",
      onsubmit: (event) => {
        event.preventDefault();
        go("search", { text: input.value });
      },
    },
    el("div", { class: "group wide" }, input, el("button", { class: "main" }, "Search")),
  );
  const root = el("section", {}, el("h2", {}, "Search"), bar, region.root);
  let chart = null;
  let last = null;

  async function show(parameters, signal) {
    const text = parameters.text ?? "";
    input.value = text;
    if (!text) {
      region.root.replaceChildren(
        el(
          "div",
          { class: "empty" },
          el("p", {}, "Find the rows that hold a text, and the steps that saw them."),
          el(
            "p",
            { class: "soft" },
            about.has_search_index
              ? "An index answers at once."
              : [
                  "Without an index every row is read; ",
                  el("code", {}, "ettin-data search-index"),
                  " makes one.",
                ],
          ),
        ),
      );
      return;
    }
    if (!region.root.querySelector(".lead")) region.root.replaceChildren();
    const doing = about.has_search_index ? "Looking it up in the index …" : "Reading the rows of the order …";
    let answer = null;
    let job = null;
    do {
      const asked = job;
      await region.fill(async () => {
        answer = null;
        answer = await ask("search", { text, first: parameters.first ?? 50, job: asked }, signal);
        return body(answer, parameters);
      }, signal, doing);
      if (signal.aborted || !answer) return;
      draw(answer);
      job = isRunning(answer) ? answer.job : null;
      if (job) await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    } while (job && !signal.aborted);
    if (!signal.aborted) say(`${answer.count} found`);
  }

  const isRunning = (answer) => answer.job != null && (answer.done ?? 1) < 1;

  function body(answer, parameters) {
    const running = isRunning(answer);
    const bar = el("progress", { max: "1", value: answer.done ?? 0, "aria-label": "Progress of the scan" });
    const how = answer.method === "index" ? "by the index" : "by reading rows";
    return [
      el(
        "p",
        { class: "lead" },
        el("strong", { class: "big" }, full(answer.count)),
        ` ${answer.count === 1 ? "place" : "places"} with “`,
        data(answer.text, "title"),
        "”",
        el(
          "span",
          { class: "soft" },
          running
            ? ` so far, ${Math.floor(answer.done * 100)} % read`
            : `${answer.is_exact === false ? ", at least," : ""} in ${answer.seconds < 1 ? `${Math.max(1, Math.round(answer.seconds * 1000))} ms` : `${answer.seconds.toFixed(1)} s`} ${how}`,
        ),
      ),
      running && bar,
      !running &&
        answer.count === 0 &&
        el(
          "div",
          { class: "empty" },
          el("p", {}, "No row of this order holds this text."),
          el(
            "p",
            { class: "soft" },
            "A search is exact: upper and lower case, spaces and line ends count. Try fewer words.",
          ),
        ),
      answer.problems.length > 0 &&
        el(
          "div",
          { class: "problem" },
          answer.problems.map((one) => el("p", {}, data(one))),
        ),
      answer.count > 0 &&
        el(
          "figure",
          {},
          el("figcaption", {}, "Places over training"),
          el("div", { class: "chart", id: "over-time" }),
          overTable(answer),
        ),
      answer.rows.length > 0 && hits(answer),
      !running &&
        answer.count > answer.rows.length &&
        el(
          "p",
          {},
          el("span", { class: "soft" }, `The first ${full(answer.rows.length)} of ${full(answer.count)}. `),
          answer.rows.length < 1000 &&
            link("search", { text: answer.text, first: 10 * (Number(parameters.first) || 50) }, "Show more"),
        ),
      sameElsewhere(answer),
    ];
  }

  /** Hits under one another with the text in the middle. */
  function hits(answer) {
    return el(
      "ol",
      { class: "hits", "aria-label": "Rows that hold the text" },
      answer.rows.map((one) =>
        el(
          "li",
          {},
          el(
            "p",
            { class: "where" },
            "step ",
            stepLink(one.step),
            " · row ",
            rowLink(one.row, one.step, one.stop && `${one.offset}-${one.stop}`),
            " · ",
            data(one.source ?? "–"),
            one.document != null && [
              " · ",
              link("document", { source: one.source, document: one.document }, data(one.document)),
            ],
          ),
          el(
            "p",
            { class: "context" },
            el("span", { class: "before" }, flat(one.before ?? "")),
            el("mark", {}, flat(one.match ?? "–")),
            el("span", { class: "after" }, flat(one.after ?? "")),
          ),
        ),
      ),
    );
  }

  function overTable(answer) {
    const rows = answer.over_time.filter((one) => one.count);
    return el(
      "details",
      { class: "as-table" },
      el("summary", {}, "The same as a table"),
      el(
        "div",
        { class: "scroll", tabindex: "0", role: "region", "aria-label": "Places over training" },
        el(
          "table",
          {},
          el(
            "thead",
            {},
            el(
              "tr",
              {},
              ["Steps", "Places", "Tokens"].map((one) => el("th", { scope: "col" }, one)),
            ),
          ),
          el(
            "tbody",
            {},
            rows.map((one) =>
              el(
                "tr",
                {},
                el("th", { scope: "row" }, stepsOf(one)),
                el("td", {}, full(one.count)),
                el("td", {}, full(one.num_tokens)),
              ),
            ),
          ),
        ),
      ),
    );
  }

  function draw(answer = last) {
    chart?.destroy();
    chart = null;
    last = answer;
    const holder = region.root.querySelector("#over-time");
    if (!holder || root.hidden || !answer?.over_time?.length) return;
    const columns = answer.over_time;
    const end = Math.max(about.num_steps ?? 0, columns.at(-1).last_step);
    const padded =
      columns.at(-1).last_step < end
        ? [...columns, { first_step: columns.at(-1).last_step + 1, last_step: end, count: null }]
        : columns;
    chart = makeChart(holder, {
      height: 150,
      format: (one) => (Number.isInteger(one) ? full(one) : ""),
      data: stepped(
        padded,
        padded.map((one) => one.count),
      ),
      draw: (plot) => drawCheckpoints(plot, about.checkpoints ?? []),
      series: [series({ stroke: colour("accent"), fill: colour("accent-fill"), width: 1.5 })],
      onStep: (step) => go("step", { step }),
      onZoom: (first, last) => go("order", { first, last }),
    });
  }

  addEventListener("themechange", () => draw());
  return { root, show };
}
