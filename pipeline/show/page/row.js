// A row as text: as it is stored, and as an encoder and a decoder are given it.

import { data, el, full, link, many, percent, sameElsewhere } from "./dom.js";
import { FIRST_TOKENS, tabs, tokenLegend, tokenText } from "./tokens.js";

/**
 * What is shown of a row; `tab` is chosen of its tabs, and onTab(number) called for another.
 * `found`: where in it the tokens that were searched for begin and end.
 */
export function rowBody(one, tab, onTab, found = [0, 0]) {
  const masked = new Set(one.encoder?.masked ?? []);
  const borrowed = one.borrowed ?? 0;
  const textById = new Map(one.tokens.map((token) => [token.id, token]));
  const tokensOf = (ids) => ids.map((id) => textById.get(id) ?? { id, text: `⟨${id}⟩`, kind: "special" });
  const stored = () => [
    one.is_cut_before != null &&
      el(
        "p",
        { class: "cut" },
        one.is_cut_before
          ? `✂ the document began before: this is chunk ${one.chunk + 1} of ${one.num_chunks}`
          : "● the document begins here",
      ),
    tokenText(one.tokens, {
      classOf: (at) => (found[0] <= at && at < found[1] ? "found" : at < borrowed ? "borrowed" : ""),
      most: Math.max(FIRST_TOKENS, found[1]),
      noteOf: (at) => one.tokens[at].joined && ["part of ", el("code", {}, data(one.tokens[at].joined))],
    }),
    one.num_tokens_cut > 0 &&
      el("p", { class: "soft" }, `${many(one.num_tokens_cut, "token")} more are not listed.`),
    one.is_cut_after != null &&
      el(
        "p",
        { class: "cut" },
        one.is_cut_after ? "✂ cut here: the document goes on in another chunk" : "● the document ends here",
      ),
    tokenLegend(["word", "special", borrowed && "borrowed", found[1] && "found", "mark"].filter(Boolean)),
  ];
  const encoder = () =>
    fed(one.encoder, one.encoder_problem, "an encoder", ({ ids, labels, labels_seed: seed }) => {
      const was = new Map(
        (one.encoder.masked ?? []).map((at, label) => [at, textById.get(labels?.[label])?.text]),
      );
      return [
        el(
          "p",
          { class: "soft" },
          `An encoder gets ${many(ids.length, "id")}, and predicts ${full(masked.size)} of them (${percent(masked.size / (ids.length || 1))})`,
          seed != null && `: the masks of seed ${seed}`,
          ".",
        ),
        tokenText(one.encoder.tokens ?? tokensOf(ids), {
          classOf: (at) => (masked.has(at) ? "masked" : ""),
          noteOf: (at) =>
            was.get(at) != null && ["to be predicted: ", el("code", {}, data(JSON.stringify(was.get(at))))],
          label: "What an encoder gets",
        }),
        tokenLegend(["word", "special", "masked"]),
      ];
    });
  const decoder = () =>
    fed(one.decoder, one.decoder_problem, "a decoder", ({ ids }) => [
      el(
        "p",
        { class: "soft" },
        `A decoder gets ${many(ids.length, "id")}, and predicts each from those before it.`,
      ),
      tokenText(one.decoder.tokens ?? tokensOf(ids), { label: "What a decoder gets" }),
      tokenLegend(["word", "special"]),
    ]);
  return [
    el("h3", {}, `Row ${full(one.row)}`),
    el(
      "dl",
      { class: "facts-list" },
      fact("Source", data(one.source ?? "unknown")),
      fact(
        "Document",
        one.document != null
          ? link("document", { source: one.source, document: one.document }, data(one.document))
          : "unknown",
      ),
      one.file && fact("File", data(one.file)),
      one.num_chunks != null && fact("Chunk", `${one.chunk + 1} of ${one.num_chunks}`),
      fact("Tokens", full(one.num_tokens ?? one.tokens.length)),
      borrowed > 0 && fact("Borrowed", `${many(borrowed, "token")} from the chunk before`),
      one.other_rows?.length > 0 &&
        fact(
          "Same chunk",
          el(
            "span",
            {},
            one.other_rows
              .slice(0, 8)
              .map((other, at) => [at > 0 && ", ", link("step", { row: other }, full(other))]),
            one.other_rows.length > 8 && ` and ${full(one.other_rows.length - 8)} more`,
          ),
        ),
      fact("Proof", link("proof", { row: one.row }, "path to the root")),
    ),
    tabs(
      "What of the row",
      [
        ["As stored", stored],
        ["To an encoder", encoder],
        ["To a decoder", decoder],
      ],
      tab,
      onTab,
    ),
    sameElsewhere(one, "This row on the command line, and in Python"),
  ];
}

/** What a model is given, or why it is not. */
function fed(given, problem, model, make) {
  if (given?.ids) return make(given);
  return el(
    "div",
    { class: "empty" },
    el("p", {}, `Nothing of this row is given to ${model}.`),
    problem && el("p", { class: "soft" }, data(problem)),
  );
}

function fact(name, value) {
  return el("div", {}, el("dt", {}, name), el("dd", {}, value));
}
