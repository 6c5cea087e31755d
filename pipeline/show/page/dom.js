// Elements of the page. Whatever comes from an order becomes text here, never markup.

// What a reader would not see, or what would turn the text around it: controls but tab and line
// feed, direction marks, breaks, spaces without width, tags, and halves of pairs.
const UNSEEN = new RegExp(
  "[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u00ad\\u061c\\u180e\\u200b\\u200e\\u200f" +
    "\\u2028-\\u202e\\u2060-\\u2064\\u2066-\\u206f\\ufeff\\ufff9-\\ufffb\\u{e0000}-\\u{e007f}" +
    "\\ud800-\\udfff]",
  "gu",
);
const CONTROLS = (
  "NUL SOH STX ETX EOT ENQ ACK BEL BS TAB LF VT FF CR SO SI DLE DC1 DC2 DC3 DC4 NAK SYN ETB " +
  "CAN EM SUB ESC FS GS RS US"
).split(" ");
const NAMES = {
  0xad: "SHY",
  0x61c: "ALM",
  0x200b: "ZWSP",
  0x200e: "LRM",
  0x200f: "RLM",
  0x2028: "LS",
  0x2029: "PS",
  0x202a: "LRE",
  0x202b: "RLE",
  0x202c: "PDF",
  0x202d: "LRO",
  0x202e: "RLO",
  0x2060: "WJ",
  0x2066: "LRI",
  0x2067: "RLI",
  0x2068: "FSI",
  0x2069: "PDI",
  0xfeff: "BOM",
  0x7f: "DEL",
};

function markOf(character) {
  const code = character.codePointAt(0);
  if (code < 0x20) return CONTROLS[code];
  return NAMES[code] ?? "U+" + code.toString(16).toUpperCase().padStart(4, "0");
}

/** Text for places that hold no elements: titles, options, canvases. */
export function plain(text) {
  return String(text).replace(UNSEEN, (one) => `⟨${markOf(one)}⟩`);
}

/** Nodes of a text, with marks for what is not seen. */
export function marked(text) {
  const nodes = [];
  let end = 0;
  for (const match of String(text).matchAll(UNSEEN)) {
    if (match.index > end) nodes.push(document.createTextNode(text.slice(end, match.index)));
    const mark = document.createElement("span");
    mark.className = "mark";
    mark.title = "U+" + match[0].codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
    mark.textContent = markOf(match[0]);
    nodes.push(mark);
    end = match.index + match[0].length;
  }
  if (end < String(text).length) nodes.push(document.createTextNode(String(text).slice(end)));
  return nodes;
}

/** An element. Attributes named on… are listeners; false and null ones are left out. */
export function el(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** An element of SVG. */
export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value != null) {
      element.setAttribute(key, key === "title" || key === "aria-label" ? plain(value) : value);
    }
  }
  element.append(...children.flat(Infinity).flatMap(nodesOf));
  return element;
}

function nodesOf(child) {
  if (child == null || child === false) return [];
  return child instanceof Node ? [child] : marked(child);
}

/** A text on one line: line ends and tabs are seen. */
export function flat(text) {
  return el(
    "bdi",
    {},
    String(text)
      .split(/([\n\t])/)
      .map((part) =>
        part === "\n" || part === "\t"
          ? el("span", { class: "unseen" }, part === "\n" ? "↵" : "→")
          : marked(part),
      ),
  );
}

/** A text of the order, kept apart from the direction of the text around it. */
export function data(text, className) {
  return el("bdi", { class: className }, text);
}

const FULL = new Intl.NumberFormat("en");
const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });

/** 12,345 */
export const full = (number) => (number == null ? "–" : FULL.format(number));
/** 12.3K */
export const short = (number) => (number == null ? "–" : SHORT.format(number));
/** 12.3 % */
export function percent(share) {
  if (share == null || Number.isNaN(share)) return "–";
  const value = share * 100;
  return `${value >= 99.95 || value === 0 ? value.toFixed(0) : value < 0.095 ? value.toPrecision(1) : value.toFixed(1)} %`;
}

/** 12 %, for axes */
export const tick = (share) => `${+(share * 100).toFixed(2)} %`;

/** The steps of a column: `12`, or `12 – 15` */
export const stepsOf = ({ first_step: first, last_step: last }) =>
  first === last ? full(first) : `${full(first)} – ${full(last)}`;

/** `12 rows`, `1 row` */
export function many(number, noun) {
  return `${full(number)} ${number === 1 ? noun : noun.endsWith("x") ? noun + "es" : noun + "s"}`;
}

/** A digest, short, with the whole of it on hover and to copy. */
export function digest(value) {
  return el(
    "span",
    { class: "digest" },
    el("code", { title: value }, value.slice(0, 12), "…"),
    copyButton("Copy", value, `Copy digest ${value.slice(0, 12)}`),
  );
}

/** A button that copies a text, and says so. */
export function copyButton(label, text, spoken = label) {
  const button = el(
    "button",
    { type: "button", class: "quiet copy", "aria-label": spoken, onclick: copy },
    label,
  );
  async function copy() {
    try {
      await navigator.clipboard.writeText(text);
      button.replaceChildren("Copied");
      say("Copied");
    } catch {
      button.replaceChildren("Not allowed here");
    }
    setTimeout(() => button.replaceChildren(label), 1500);
  }
  return button;
}

/** Say something to readers of the screen. */
export function say(text) {
  document.getElementById("said").textContent = plain(text);
}

/** What gives the same elsewhere: the command and the Python call of an answer. */
export function sameElsewhere(answer, what = "The same on the command line, and in Python") {
  if (!answer.command && !answer.python) return null;
  const line = (text) =>
    text && el("pre", { tabindex: "0", role: "region", "aria-label": text.slice(0, 60) }, data(text));
  return el(
    "div",
    { class: "same" },
    answer.command && copyButton("Copy command", answer.command),
    answer.python && copyButton("Copy Python", answer.python),
    el("details", {}, el("summary", {}, what), line(answer.command), line(answer.python)),
  );
}

/** A part of the page with content of its own, which loads, or fails, without the others. */
export class Region {
  constructor(attributes = {}) {
    this.root = el("div", { ...attributes, class: `region ${attributes.class ?? ""}` });
    this.turn = 0;
  }

  /** Show what `make` resolves to, unless another call has come since; until the first, what is done. */
  async fill(make, signal, doing = "") {
    const turn = ++this.turn;
    this.root.setAttribute("aria-busy", "true");
    if (!this.root.hasChildNodes()) this.root.append(el("div", { class: "waiting" }, doing));
    let nodes;
    try {
      nodes = await make();
    } catch (problem) {
      if (signal?.aborted) return;
      nodes = [problemBox(problem)];
    }
    if (turn !== this.turn || signal?.aborted) return;
    this.root.replaceChildren(...[nodes].flat(Infinity).filter(Boolean));
    this.root.removeAttribute("aria-busy");
  }
}

export function problemBox(problem) {
  if (!(problem instanceof AnswerError)) console.error(problem);
  return el(
    "div",
    { class: "problem", role: "alert" },
    el("p", {}, data(problem.message)),
    problem.hint && el("p", { class: "hint" }, "Hint: ", data(problem.hint)),
  );
}

/** What the server answers instead of an answer. */
export class AnswerError extends Error {
  constructor(message, hint, status) {
    super(message);
    this.hint = hint;
    this.status = status;
  }
}

/** Ask for a view. Raises AnswerError. */
export async function ask(name, parameters = {}, signal) {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(parameters)) {
    for (const one of [value].flat()) if (one != null && one !== "") query.append(key, one);
  }
  let response;
  try {
    response = await fetch(`api/${name}?${query}`, { signal });
  } catch (problem) {
    if (signal?.aborted) throw problem;
    throw new AnswerError("The server does not answer", "is `ettin-data show` still running?", 0);
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok)
    throw new AnswerError(
      answer.error ?? `The server answered ${response.status}`,
      answer.hint,
      response.status,
    );
  return answer;
}

/** The address of a view on this page. */
export function address(name, parameters = {}) {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(parameters))
    if (value != null && value !== "") query.set(key, value);
  const text = query.toString();
  return text ? `#${name}?${text}` : `#${name}`;
}

export const link = (name, parameters, ...children) =>
  el("a", { href: address(name, parameters) }, ...children);
export const stepLink = (step) => link("step", { step }, full(step));
/** at: the tokens to be found in the row, such as 3-5: from the third to before the fifth, from 0. */
export const rowLink = (row, step, at) => link("step", { step, row, at }, full(row));
