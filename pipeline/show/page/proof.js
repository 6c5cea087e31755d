// Proof: the path of a row to the root of its order, and two orders side by side.

import {
  address,
  ask,
  data,
  digest,
  el,
  full,
  link,
  many,
  Region,
  rowLink,
  sameElsewhere,
  svg,
} from "./dom.js";
import { tokenLegend, tokenText } from "./tokens.js";

const AROUND = 40;

export function makeProof({ about, go }) {
  const path = new Region();
  const other = new Region();
  const last = Math.max((about.num_rows ?? 1) - 1, 0);
  const row = el("input", { type: "number", min: "0", max: last, "aria-label": "Row" });
  const where = el("input", {
    "aria-label": "Another order: a manifest, a folder or an address",
    placeholder: "manifest, folder or hf://…",
    size: "30",
  });
  let state = {};
  const root = el(
    "section",
    {},
    el("h2", {}, "Proof"),
    el(
      "form",
      {
        class: "controls",
        onsubmit: (event) => {
          event.preventDefault();
          go("proof", { row: row.value, with: state.with });
        },
      },
      el(
        "div",
        { class: "group" },
        el("span", { class: "label" }, "Row"),
        row,
        el("span", { class: "soft" }, `of 0 to ${full(last)}`),
        el("button", {}, "Show"),
      ),
    ),
    path.root,
    el("h3", {}, "Beside another order"),
    el(
      "form",
      {
        class: "controls",
        onsubmit: (event) => {
          event.preventDefault();
          go("proof", { row: state.row, with: where.value });
        },
      },
      el("div", { class: "group wide" }, where, el("button", {}, "Compare")),
    ),
    other.root,
  );

  async function show(parameters, signal) {
    const wanted = parameters.row === "" || parameters.row == null ? 0 : Number(parameters.row);
    const old = state;
    state = { row: wanted, with: parameters.with };
    row.value = wanted;
    where.value = parameters.with ?? "";
    const parts = [path.fill(async () => proof(await ask("proof", { row: wanted }, signal)), signal)];
    if (!parameters.with)
      other.root.replaceChildren(
        el(
          "p",
          { class: "soft" },
          "Where two orders differ, the first row that does is shown token by token, with an explanation.",
        ),
      );
    else if (old.with !== parameters.with || !other.root.hasChildNodes())
      parts.push(
        other.fill(async () => compare(await ask("compare", { with: parameters.with }, signal)), signal),
      );
    await Promise.all(parts);
  }

  function proof(answer) {
    const published = { yes: "Yes", no: "No", unknown: "Unknown" }[answer.published] ?? answer.published;
    return [
      el(
        "div",
        { class: "verdicts" },
        el(
          "div",
          { class: `verdict ${answer.holds ? "good" : "bad"}` },
          el("b", {}, answer.holds ? "✓ Holds" : "✗ Does not hold"),
          el(
            "p",
            {},
            answer.holds
              ? "The row and these digests give the root that the manifest has."
              : "The row and these digests do not give the root that the manifest has.",
          ),
        ),
        el(
          "div",
          { class: `verdict ${{ yes: "good", no: "bad" }[answer.published] ?? "open"}` },
          el("b", {}, "Same as published: ", published),
          el("p", {}, data(answer.published_why ?? "")),
        ),
      ),
      el(
        "figure",
        {},
        el("figcaption", {}, "From row ", rowLink(answer.row), " to the root"),
        picture(answer),
      ),
      el(
        "ol",
        { class: "path", "aria-label": "Path to the root" },
        step(`Row ${full(answer.row)}`, answer.row_digest),
        step(
          `Node ${full(answer.node.number)}, over its ${many(answer.node.row_digests?.length ?? 1024, "row")}${answer.node.place != null ? `, this one at place ${full(answer.node.place)}` : ""}`,
          answer.node.digest,
        ),
        answer.path.map((one, at) =>
          step(`Level ${at + 1}: joined with its neighbour on the ${one.side}`, one.digest),
        ),
        step(
          `Root of the order, with its number of rows${answer.num_rows != null ? `, ${full(answer.num_rows)}` : ""}`,
          answer.sequence_root,
        ),
      ),
      sameElsewhere(answer),
    ];
  }

  const step = (name, value) => el("li", {}, el("span", {}, name), digest(value));

  /** Levels from the row up; the way in colour, neighbours beside it. */
  function picture(answer) {
    const levels = answer.path.length + 3;
    const [gap, middle, width] = [46, 220, 440];
    const height = levels * gap + 20;
    const y = (level) => height - 30 - level * gap;
    const box = (x, level, name, value, kind) =>
      svg(
        "g",
        { class: kind },
        svg("rect", { x: x - 62, y: y(level) - 15, width: 124, height: 30, rx: 5 }),
        svg(
          "text",
          { x, y: y(level), "text-anchor": "middle", "dominant-baseline": "central" },
          `${name} ${value.slice(0, 8)}`,
        ),
      );
    const edge = (x0, l0, x1, l1, kind) =>
      svg("path", {
        class: kind,
        d: `M${x0},${y(l0) - 15} C${x0},${y(l0) - 30} ${x1},${y(l1) + 30} ${x1},${y(l1) + 15}`,
      });
    const parts = [edge(middle, 0, middle, 1, "edge way")];
    const boxes = [
      box(middle, 0, "row", answer.row_digest, "box way"),
      box(middle, 1, "node", answer.node.digest, "box way"),
    ];
    answer.path.forEach((one, at) => {
      const x = one.side === "left" ? middle - 150 : middle + 150;
      parts.push(edge(x, at + 1, middle, at + 2, "edge"), edge(middle, at + 1, middle, at + 2, "edge way"));
      boxes.push(box(x, at + 1, "", one.digest, "box"));
      boxes.push(box(middle, at + 2, "joined", "", "box way"));
    });
    parts.push(edge(middle, levels - 2, middle, levels - 1, "edge way"));
    boxes.push(box(middle, levels - 1, "root", answer.sequence_root, "box way root"));
    return el(
      "div",
      { class: "scroll flow-box", tabindex: "0", role: "region", "aria-label": "Picture of the path" },
      svg(
        "svg",
        {
          class: "merkle",
          viewBox: `0 0 ${width} ${height}`,
          role: "img",
          "aria-label": `A path of ${answer.path.length} levels from the row to the root; the list below has every digest`,
        },
        parts,
        boxes,
      ),
    );
  }

  function compare(answer) {
    const lines = el(
      "ul",
      { class: "explanation" },
      (answer.explanation ?? []).map((one) => el("li", {}, data(one))),
    );
    if (answer.same)
      return [el("div", { class: "verdict good" }, el("b", {}, "✓ The same"), lines), sameElsewhere(answer)];
    const [ours, theirs] = [answer.ours ?? [], answer.theirs ?? []];
    const length = Math.max(ours.length, theirs.length);
    const differ = Array.from({ length }, (_, at) => ours[at]?.id !== theirs[at]?.id);
    const first = Math.max(differ.indexOf(true), 0);
    const count = differ.filter(Boolean).length;
    const from = Math.max(0, first - AROUND);
    const side = (title, tokens) =>
      el(
        "div",
        {},
        el("h4", {}, title),
        from > 0 && el("p", { class: "soft" }, `… ${many(from, "equal token")}`),
        tokenText(tokens.slice(from), {
          label: title,
          classOf: (at) => (differ[from + at] ? "differs" : ""),
        }),
      );
    return [
      el(
        "div",
        { class: "verdict bad" },
        el("b", {}, "✗ They differ", answer.first_row != null && ` first at row ${full(answer.first_row)}`),
        lines,
      ),
      length > 0 &&
        el(
          "p",
          {},
          `${many(count, "token")} of ${full(length)} differ, the first at place ${full(first)}. `,
          answer.first_row != null && link("step", { row: answer.first_row }, "Open the row"),
        ),
      length > 0 && el("div", { class: "split even" }, side("This order", ours), side("The other", theirs)),
      length > 0 && tokenLegend(["word", "differs"]),
      sameElsewhere(answer),
    ];
  }

  return { root, show };
}
