// Budget: what was asked for, there, drawn, repeated and lost, source by source.

import { ask, data, el, full, many, percent, Region, sameElsewhere, short } from "./dom.js";
import { flowPicture } from "./flow.js";

const SHOWN = 50;
const LOST = new Set(["discarded", "dropped", "lost", "unused", "validation"]);
const NUMBERS = [
  ["documents", "Documents"],
  ["asked", "Asked"],
  ["available", "Available"],
  ["drawn", "Drawn"],
  ["unused", "Unused"],
  ["repeated", "Repeated"],
  ["added", "Added"],
  ["discarded", "Discarded"],
  ["validation", "Validation"],
];

export function makeBudget({ about, colours }) {
  const region = new Region();
  const root = el("section", {}, el("h2", {}, "Budget"), region.root);
  let answer = null;

  async function show(_, signal) {
    if (answer) return;
    await region.fill(async () => {
      answer = await ask("budget", {}, signal);
      return body();
    }, signal);
  }

  function body() {
    const ranked = [...answer.sources].sort((a, b) => (b.drawn ?? 0) - (a.drawn ?? 0));
    const colourOf = (name, isSource = true) =>
      isSource ? (colours.of(name) ?? "lost") : LOST.has(name) ? "lost" : "kept";
    return [
      el(
        "p",
        { class: "lead" },
        `${full(answer.totals.drawn)} tokens drawn from ${many(answer.sources.length, "source")}`,
        answer.steps?.rows != null && `, in ${many(answer.steps.rows, "row")}`,
        answer.steps?.dropped_rows > 0 &&
          `; ${many(answer.steps.dropped_rows, "row")} at the end fill no step`,
        ".",
      ),
      el(
        "figure",
        {},
        el("figcaption", {}, "Tokens, from sources to steps"),
        flowPicture(answer.picture, colourOf),
      ),
      table(ranked, colourOf),
      dropped(),
      assumptions(),
      sameElsewhere(answer),
    ];
  }

  function table(ranked, colourOf) {
    const used = NUMBERS.filter(([key]) => answer.sources.some((one) => one[key]));
    let [sort, down, limit] = ["drawn", true, SHOWN];
    const filter = el("input", {
      type: "search",
      placeholder: "Filter sources",
      "aria-label": "Filter sources",
      oninput: () => rows(),
    });
    const tbody = el("tbody");
    const heads = [["name", "Source"], ...used].map(([key, title]) =>
      el(
        "th",
        { scope: "col", "data-key": key },
        el(
          "button",
          {
            type: "button",
            onclick: () => {
              down = sort === key ? !down : key !== "name";
              sort = key;
              rows();
            },
          },
          title,
        ),
      ),
    );
    const most = Math.max(...answer.sources.map((one) => one.drawn ?? 0), 1);
    function cell(one, key) {
      const value = one[key];
      const shown = el(
        "td",
        { title: value == null ? "not said" : full(value) },
        value == null ? "–" : key === "documents" ? full(value) : short(value),
      );
      if (key !== "drawn") return shown;
      const bar = el("span", { class: "meter", "aria-hidden": "true" });
      bar.style.setProperty("--share", value / most);
      shown.append(bar);
      return shown;
    }
    function rows() {
      const text = filter.value.toLowerCase();
      const by = (one) => (sort === "name" ? one.name : (one[sort] ?? -1));
      const list = ranked
        .filter((one) => !text || `${one.name} ${one.category ?? ""}`.toLowerCase().includes(text))
        .sort((a, b) => (by(a) < by(b) ? -1 : by(a) > by(b) ? 1 : 0) * (down ? -1 : 1));
      heads.forEach((head) =>
        head.setAttribute(
          "aria-sort",
          head.dataset.key === sort ? (down ? "descending" : "ascending") : "none",
        ),
      );
      tbody.replaceChildren(
        ...list.slice(0, limit).map((one) =>
          el(
            "tr",
            {},
            el(
              "th",
              { scope: "row" },
              el("i", { class: `swatch ${colourOf(one.name)}` }),
              data(one.name),
              one.category &&
                one.category !== one.name &&
                el("span", { class: "soft" }, " ", data(one.category)),
            ),
            used.map(([key]) => cell(one, key)),
          ),
        ),
      );
      if (list.length > limit) {
        const rest = list.slice(limit);
        tbody.append(
          el(
            "tr",
            { class: "rest" },
            el(
              "th",
              { scope: "row" },
              el(
                "button",
                {
                  type: "button",
                  onclick: () => {
                    limit += 500;
                    rows();
                  },
                },
                `${full(rest.length)} more`,
              ),
            ),
            used.map(([key]) => el("td", {}, short(rest.reduce((sum, one) => sum + (one[key] ?? 0), 0)))),
          ),
        );
      }
      if (!list.length)
        tbody.append(
          el(
            "tr",
            {},
            el(
              "td",
              { colspan: used.length + 1, class: "empty" },
              text ? "No source has this in its name." : "The manifest names no sources.",
            ),
          ),
        );
    }
    rows();
    return el(
      "div",
      {},
      answer.sources.length > 12 && el("div", { class: "controls" }, filter),
      el(
        "div",
        { class: "scroll", tabindex: "0", role: "region", "aria-label": "Budget by source" },
        el(
          "table",
          { class: "budget" },
          el("thead", {}, el("tr", {}, heads)),
          tbody,
          el(
            "tfoot",
            {},
            el(
              "tr",
              {},
              el("th", { scope: "row" }, "All"),
              used.map(([key]) =>
                el(
                  "td",
                  { title: full(answer.totals[key]) },
                  key === "documents" ? full(answer.totals[key]) : short(answer.totals[key]),
                ),
              ),
            ),
          ),
        ),
      ),
    );
  }

  /** What filters and the like left out, by reason. */
  function dropped() {
    const reasons = new Map();
    for (const one of answer.sources) {
      for (const [reason, { documents, tokens }] of Object.entries(one.dropped ?? {})) {
        const sum = reasons.get(reason) ?? { documents: 0, tokens: 0 };
        reasons.set(reason, {
          documents: sum.documents + documents,
          tokens: sum.tokens === null || tokens == null ? null : sum.tokens + tokens,
        });
      }
    }
    if (!reasons.size) return el("p", { class: "soft" }, "No document was dropped.");
    const all = answer.sources.reduce((sum, one) => sum + (one.documents ?? 0), 0);
    return el(
      "div",
      {},
      el("h3", {}, "Documents dropped, by reason"),
      el(
        "div",
        { class: "scroll", tabindex: "0", role: "region", "aria-label": "Documents dropped" },
        el(
          "table",
          { class: "small" },
          el(
            "thead",
            {},
            el(
              "tr",
              {},
              ["Reason", "Documents", "Of all", "Tokens"].map((one) => el("th", { scope: "col" }, one)),
            ),
          ),
          el(
            "tbody",
            {},
            [...reasons]
              .sort((a, b) => b[1].documents - a[1].documents)
              .map(([reason, one]) =>
                el(
                  "tr",
                  {},
                  el("th", { scope: "row" }, data(reason)),
                  el("td", {}, full(one.documents)),
                  el("td", {}, all ? percent(one.documents / all) : "–"),
                  el("td", {}, one.tokens === null ? "not counted" : full(one.tokens)),
                ),
              ),
          ),
        ),
      ),
    );
  }

  /** What the mixture takes for true where the published record does not say. */
  function assumptions() {
    if (!about.assumptions?.length) return null;
    return el(
      "div",
      {},
      el("h3", {}, "What the mixture assumes"),
      el(
        "ul",
        { class: "assumptions" },
        about.assumptions.map(({ says, confidence, because }) =>
          el(
            "li",
            {},
            data(says),
            confidence != null && el("span", { class: "soft" }, ` (confidence ${confidence})`),
            because?.length > 0 &&
              el(
                "ul",
                { class: "soft" },
                because.map((one) => el("li", {}, data(one))),
              ),
          ),
        ),
      ),
    );
  }

  return { root, show };
}
