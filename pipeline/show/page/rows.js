// The rows of a step as a list: some of them at first, those before and after when asked for.

import { ask, data, el, full, link, many, problemBox } from "./dom.js";

// Asked for at a time: a step may have thousands.
const ROWS = 256;

/** What asks for the rows of a step, or those around one of them. */
export const around = (step, row) => ({
  step,
  first: row === null ? null : Math.max(row - ROWS / 2, 0),
  rows: ROWS,
});

/** A filter and a list; what is read later is added to `answer.rows`, and onFill() called then. */
export function rowList(answer, colours, onFill) {
  const end = answer.first_row + answer.num_rows;
  const first = () => answer.rows[0]?.row ?? end;
  const stop = () => (answer.rows.length ? answer.rows.at(-1).row + 1 : end);
  const isWhole = () => first() <= answer.first_row && stop() >= end;
  let isReading = false;
  const items = el("ol", { class: "row-list", "aria-label": `Rows of step ${answer.step}` });
  const filter = el("input", {
    type: "search",
    "aria-label": "Filter rows",
    placeholder: "Filter rows by source, document or text",
    oninput: () => {
      fill();
      if (!isReading) trying(readAll);
    },
  });

  async function read(isBefore) {
    const from = isBefore ? Math.max(first() - ROWS, answer.first_row) : stop();
    const rows = isBefore ? first() - from : ROWS;
    const found = await ask("step", { step: answer.step, first: from, rows });
    answer.rows = isBefore ? [...found.rows, ...answer.rows] : [...answer.rows, ...found.rows];
    fill();
    return isBefore ? found.rows.at(-1) : found.rows[0];
  }

  /** A filter is of all rows. */
  async function readAll() {
    isReading = true;
    while (filter.value && items.isConnected && !isWhole()) await read(first() > answer.first_row);
  }

  /** Read more rows, and go on where they join the others. */
  async function readMore(isBefore) {
    const row = await read(isBefore);
    items.querySelectorAll("a")[answer.rows.indexOf(row)].focus();
  }

  async function trying(action) {
    try {
      await action();
    } catch (problem) {
      items.append(el("li", {}, problemBox(problem)));
    }
    isReading = false;
  }

  function more(label, number, isBefore) {
    if (number <= 0) return [];
    const onclick = () => trying(() => readMore(isBefore));
    return [el("li", {}, el("button", { type: "button", onclick }, `${label} rows (${full(number)})`))];
  }

  function fill() {
    const text = filter.value.toLowerCase();
    const has = (part) =>
      String(part ?? "")
        .toLowerCase()
        .includes(text);
    const rows = answer.rows.filter((one) => [one.source, one.document, one.start, one.row].some(has));
    const left = answer.num_rows - answer.rows.length;
    const none = text ? "No row has this in its source, document or beginning." : "This step has no rows.";
    const reading = `${many(left, "row")} more are being read …`;
    items.replaceChildren(
      ...(text ? [] : more("Earlier", first() - answer.first_row, true)),
      ...rows.map((one) => item(answer.step, one, colours)),
      ...(text ? [] : more("Later", end - stop(), false)),
    );
    const said = text && left > 0 ? reading : rows.length ? "" : none;
    if (said) items.append(el("li", { class: "empty" }, said));
    onFill();
  }

  fill();
  return [
    answer.rows_problem && el("div", { class: "problem" }, el("p", {}, data(answer.rows_problem))),
    filter,
    items,
  ];
}

function item(step, one, colours) {
  return el(
    "li",
    {},
    link(
      "step",
      { step, row: one.row },
      el(
        "span",
        { class: "row-top" },
        el("span", { class: "number" }, full(one.row)),
        el("i", { class: `swatch ${colours.of(one.source) ?? ""}` }),
        data(one.source ?? "–", "from"),
        el("span", { class: "soft" }, `${full(one.num_tokens)} tokens`),
      ),
      el("span", { class: "row-start" }, one.start == null ? "–" : data(one.start || "(no text)")),
    ),
  );
}
