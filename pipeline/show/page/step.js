// Step: its rows as a list, and the row that is selected as text.

import {
  ask,
  data,
  digest,
  el,
  full,
  many,
  percent,
  plain,
  Region,
  sameElsewhere,
  say,
} from "./dom.js";
import { rowBody } from "./row.js";
import { around, rowList } from "./rows.js";

export function makeStep({ about, colours, go }) {
  const last = about.num_steps ?? 1;
  let answer = null;
  let place = { step: 1, row: null };
  let tab = 0;
  const list = new Region({ class: "rows" });
  const detail = new Region({ class: "row" });
  const head = new Region({ class: "step-head" });
  const same = el("div");
  const number = el("input", { type: "number", min: "1", max: last, "aria-label": "Step" });
  const ticks = (about.checkpoints ?? []).slice(0, 200).map((one) => el("option", { value: one.last_step }));
  const slider = el("input", {
    type: "range",
    min: "1",
    max: last,
    "aria-label": "Place in training",
    list: "checkpoint-steps",
    oninput: () => {
      number.value = slider.value;
    },
    onchange: () => go("step", { step: slider.value }, { replace: true }),
  });
  const row = el("input", {
    type: "number",
    min: "0",
    max: (about.num_rows ?? 1) - 1,
    "aria-label": "Row",
    placeholder: "row",
  });
  const checkpoint = el(
    "select",
    {
      "aria-label": "Checkpoint",
      onchange: () => checkpoint.value && go("step", { step: checkpoint.value }),
    },
    el("option", { value: "" }, "checkpoint"),
    (about.checkpoints ?? []).map((one) => el("option", { value: one.last_step }, plain(one.name))),
  );
  const before = el("button", { type: "button", "aria-label": "Step before", onclick: () => move(-1) }, "◀");
  const after = el("button", { type: "button", "aria-label": "Step after", onclick: () => move(1) }, "▶");
  const bar = el(
    "div",
    { class: "controls" },
    el(
      "form",
      {
        class: "group",
        onsubmit: (event) => {
          event.preventDefault();
          go("step", { step: number.value });
        },
      },
      before,
      el("span", { class: "label" }, "Step"),
      number,
      el("span", { class: "soft" }, `of ${full(last)}`),
      after,
      el("button", {}, "Go"),
    ),
    el(
      "form",
      {
        class: "group",
        onsubmit: (event) => {
          event.preventDefault();
          toRow(row.value);
        },
      },
      el("span", { class: "label" }, "Row"),
      row,
      el("button", {}, "Go"),
    ),
    about.checkpoints?.length > 0 &&
      el("div", { class: "group" }, el("span", { class: "label" }, "Up to"), checkpoint),
  );
  const root = el(
    "section",
    {},
    el("h2", {}, "Step"),
    bar,
    slider,
    el("datalist", { id: "checkpoint-steps" }, ticks),
    head.root,
    el("div", { class: "split" }, list.root, detail.root),
    same,
  );

  function move(by) {
    const step = Math.min(Math.max(place.step + by, 1), last);
    if (step !== place.step) go("step", { step }, { replace: true });
  }

  function toRow(value) {
    if (value !== "") go("step", { row: value });
  }

  async function show(parameters, signal) {
    const wanted = parameters.row != null && parameters.row !== "" ? Number(parameters.row) : null;
    const found = /^(\d{1,9})-(\d{1,9})$/.exec(parameters.at ?? "")?.slice(1).map(Number);
    let step = Number(parameters.step) || null;
    let known = null;
    const showRow = (number) =>
      detail.fill(async () => {
        known = await ask("row", { row: number }, signal);
        return rowDetail(known, found);
      }, signal);
    const rowShown = wanted === null ? null : showRow(wanted);
    if (step === null && wanted !== null) {
      // Which step a row is in, the row's own answer says.
      await rowShown;
      if (signal.aborted) return;
      step = known?.step ?? place.step;
    }
    step ??= 1;
    place = { step, row: wanted };
    number.value = step;
    slider.value = step;
    row.value = wanted ?? "";
    before.disabled = step <= 1;
    after.disabled = step >= last;
    if (answer?.step !== step || (wanted !== null && !isListed(wanted))) {
      let problem = null;
      const asked = ask("step", around(step, wanted), signal).then(
        (one) => {
          answer = one;
        },
        (one) => {
          answer = null;
          problem = one;
        },
      );
      await Promise.all([
        head.fill(async () => {
          await asked;
          if (problem) throw problem;
          return headBody();
        }, signal),
        list.fill(async () => {
          await asked;
          return problem ? [] : rowList(answer, colours, mark);
        }, signal),
      ]);
      if (signal.aborted) return;
    }
    if (!answer) return void (detail.root.replaceChildren(), same.replaceChildren());
    const selected = wanted ?? answer.first_row;
    place.row = selected;
    reveal();
    await (rowShown ?? showRow(selected));
    if (!signal.aborted) detail.root.querySelector(".token.found")?.scrollIntoView({ block: "center" });
    if (!signal.aborted)
      same.replaceChildren(
        ...[sameElsewhere(answer, "This step on the command line, and in Python")].filter(Boolean),
      );
  }

  const isListed = (row) => row >= answer.rows[0]?.row && row <= answer.rows.at(-1).row;

  function headBody() {
    const counts = Object.entries(answer.counts).sort((a, b) => b[1].tokens - a[1].tokens);
    const sum = counts.reduce((total, [, one]) => total + one.tokens, 0) || 1;
    const shown = counts.slice(0, 12);
    return [
      el(
        "p",
        { class: "lead" },
        `Step ${full(answer.step)}: ${many(answer.num_rows, "row")}`,
        answer.num_rows > 0 && [", from row ", full(answer.first_row)],
        counts.length ? `, ${many(sum, "token")}. ` : ". ",
        answer.checkpoint && ["First checkpoint that saw it: ", data(answer.checkpoint), ". "],
        answer.sha256 && el("span", { class: "nowrap" }, "sha256 ", digest(answer.sha256)),
      ),
      el(
        "ul",
        { class: "counts", "aria-label": "Tokens of this step by source" },
        shown.map(([name, one]) => {
          const bar = el("span", { class: "meter", "aria-hidden": "true" });
          bar.style.setProperty("--share", one.tokens / sum);
          return el(
            "li",
            { class: colours.of(name) },
            data(name),
            bar,
            el("span", { class: "number" }, percent(one.tokens / sum)),
            el("span", { class: "soft" }, many(one.rows, "row")),
          );
        }),
        counts.length > 12 && el("li", { class: "soft" }, `and ${many(counts.length - 12, "source")}`),
      ),
    ];
  }

  function mark() {
    let marked = null;
    for (const anchor of list.root.querySelectorAll(".row-list a")) {
      const is = new URLSearchParams(anchor.hash.split("?")[1]).get("row") === String(place.row);
      if (is) anchor.setAttribute("aria-current", "true");
      else anchor.removeAttribute("aria-current");
      if (is) marked = anchor;
    }
    return marked;
  }

  /** Mark the row that is selected, and scroll the list to it. */
  function reveal() {
    const anchor = mark();
    if (!anchor) return;
    if (list.root.contains(document.activeElement) && document.activeElement.matches("a"))
      anchor.focus({ preventScroll: true });
    const box = anchor.closest("ol");
    const item = anchor.closest("li");
    const top = item.offsetTop - box.offsetTop;
    if (top < box.scrollTop || top + item.offsetHeight > box.scrollTop + box.clientHeight)
      box.scrollTop = top - box.clientHeight / 3;
  }

  function rowDetail(one, found) {
    const choose = (at) => {
      tab = at;
    };
    return rowBody(one, found ? 0 : tab, choose, found);
  }

  function moveRow(by) {
    if (!answer?.rows.length) return;
    const last = answer.first_row + answer.num_rows - 1;
    const row = Math.min(Math.max(place.row + by, answer.first_row), last);
    go("step", { step: answer.step, row }, { replace: true });
    say(`Row ${row}`);
  }

  return {
    root,
    show,
    onKey(key) {
      const actions = {
        ArrowLeft: () => move(-1),
        ArrowRight: () => move(1),
        ArrowUp: () => moveRow(-1),
        ArrowDown: () => moveRow(1),
      };
      if (!actions[key]) return false;
      actions[key]();
      return true;
    },
  };
}
