// The tokens of a row as text: where each begins, which are special, which a trainer masks.

import { data, el, full, marked } from "./dom.js";

/** So many are laid out at once without a wait. */
export const FIRST_TOKENS = 8192;
const NOTES = [
  ["borrowed", "taken from the chunk before"],
  ["differs", "differs"],
  ["found", "of what was searched for"],
];

/** What a token's text looks like: line ends and tabs are seen, and still break the text. */
function looks({ text, kind, joined }) {
  if (kind === "special" || kind === "unknown") return [text];
  // Parts of one character: the first shows all of it.
  if (kind === "bytes") return [joined ?? "·"];
  const parts = text.split(/(\n|\t)/);
  return parts.map((part) => {
    if (part === "\n") return [el("span", { class: "unseen" }, "↵"), "\n"];
    if (part === "\t") return [el("span", { class: "unseen" }, "→"), "\t"];
    return kind === "space" ? el("span", { class: "unseen" }, part.replaceAll(" ", "·")) : marked(part);
  });
}

/**
 * An element that shows tokens, [{id, text, kind}]. `classOf(position)` adds a class to one,
 * `noteOf(position)` what to say of it besides its id, when it is clicked or pointed at. So
 * many as `most` are laid out at once.
 */
export function tokenText(
  tokens,
  { classOf = () => "", noteOf = () => null, label = "Text of the row", most = FIRST_TOKENS } = {},
) {
  const saying = el("p", { class: "saying soft" }, "Point at a token to see its id.");
  const span = (one, position) =>
    el(
      "bdi",
      {
        class: `token ${one.kind ?? "word"} ${one.text.includes("\n") ? "breaks" : ""} ${classOf(position)}`,
        "data-at": position,
      },
      looks(one),
    );
  const text = el(
    "div",
    { class: "tokens", tabindex: "0", role: "region", "aria-label": label, dir: "auto" },
    tokens.slice(0, most).map(span),
  );
  const more = el("button", { type: "button", onclick: showAll }, `Show all ${full(tokens.length)} tokens`);
  function showAll() {
    text.append(...tokens.slice(most).map((one, at) => span(one, most + at)));
    more.remove();
  }
  let last = null;
  function tell(event) {
    const span = event.target.closest?.(".token");
    if (!span || span === last) return;
    last = span;
    const position = Number(span.dataset.at);
    const { id, text: content } = tokens[position];
    const note = noteOf(position) || NOTES.find(([kind]) => span.classList.contains(kind))?.[1];
    saying.replaceChildren(
      el(
        "span",
        {},
        `Token ${full(position)} · id ${id} · `,
        el("code", {}, data(JSON.stringify(content))),
        note && [" · ", note],
      ),
    );
  }
  text.addEventListener("mouseover", tell);
  text.addEventListener("click", tell);
  return el("div", { class: "token-box" }, text, tokens.length > most && more, saying);
}

/** What the colours of tokens mean. */
export function tokenLegend(kinds) {
  const words = {
    word: "a token",
    bytes: "part of a character",
    special: "[CLS], [SEP] and the like",
    masked: "masked, to be predicted",
    borrowed: "taken from the chunk before",
    mark: "not seen, or turns the text",
    differs: "differs",
    found: "what was searched for",
  };
  return el(
    "ul",
    { class: "token-legend" },
    kinds.map((kind) =>
      el(
        "li",
        {},
        el(
          "span",
          { class: kind === "mark" ? "mark" : `token ${kind}` },
          kind === "special" ? "[SEP]" : kind === "mark" ? "RLO" : "abc",
        ),
        " ",
        words[kind],
      ),
    ),
  );
}

/** Tabs: [[title, make element]]; made when first shown. */
export function tabs(label, list, chosen = 0, onChoose = () => {}) {
  const panes = list.map(([title]) => el("div", { role: "tabpanel", "aria-label": title }));
  const buttons = list.map(([title], at) =>
    el("button", { type: "button", role: "tab", onclick: () => choose(at), onkeydown: move }, title),
  );
  function choose(at) {
    buttons.forEach((button, one) => {
      button.setAttribute("aria-selected", String(one === at));
      button.tabIndex = one === at ? 0 : -1;
      panes[one].hidden = one !== at;
    });
    if (!panes[at].hasChildNodes()) panes[at].append(...[list[at][1]()].flat(Infinity).filter(Boolean));
    onChoose(at);
  }
  function move(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    event.stopPropagation();
    const at = (buttons.indexOf(event.target) + by + list.length) % list.length;
    choose(at);
    buttons[at].focus();
  }
  choose(Math.min(chosen, list.length - 1));
  return el("div", { class: "tabs" }, el("div", { role: "tablist", "aria-label": label }, buttons), panes);
}
