// The page of `ettin-data show`: one panel at a time, each with its address after the hash.

import { address, ask, copyButton, data, el, full, many, plain, problemBox, say, short } from "./dom.js";
import { makeBudget } from "./budget.js";
import { makeColours } from "./colours.js";
import { makeDocument } from "./document.js";
import { makeOrder } from "./order.js";
import { makeProof } from "./proof.js";
import { makeSearch } from "./search.js";
import { makeStep } from "./step.js";

const PANELS = [
  ["order", "Order", makeOrder],
  ["step", "Step", makeStep],
  ["document", "Document", makeDocument],
  ["search", "Search", makeSearch],
  ["budget", "Budget", makeBudget],
  ["proof", "Proof", makeProof],
];
const THEMES = { auto: "Auto", light: "Light", dark: "Dark" };
const byId = (id) => document.getElementById(id);
const panels = new Map();
let current = null;
let stopLast = null;

/** The panel and parameters that the address names. */
function place() {
  const [name, query] = location.hash.slice(1).split(/\?(.*)/s);
  const known = PANELS.some(([one]) => one === name);
  return { name: known ? name : "order", parameters: Object.fromEntries(new URLSearchParams(query ?? "")) };
}

/** Go to a view; `replace` leaves no step in the history. */
function go(name, parameters, { replace = false } = {}) {
  const target = address(name, parameters);
  if (replace || target === location.hash) history.replaceState(null, "", target);
  else history.pushState(null, "", target);
  route();
}

async function route() {
  const { name, parameters } = place();
  stopLast?.abort();
  stopLast = new AbortController();
  const [, title] = PANELS.find(([one]) => one === name);
  const bar = byId("panels");
  for (const anchor of bar.children) {
    if (anchor.dataset.panel === name) {
      anchor.setAttribute("aria-current", "page");
      // Not scrollIntoView, from which on Tab would go.
      bar.scrollLeft = anchor.offsetLeft - bar.offsetLeft - bar.clientWidth / 2;
    } else anchor.removeAttribute("aria-current");
  }
  const isNew = current !== name;
  current = name;
  for (const [one, panel] of panels) panel.root.hidden = one !== name;
  document.title = `${title} · ${plain(byId("name").dataset.name ?? "")} · ettin-data`;
  if (isNew) {
    scrollTo(0, 0);
    say(title);
  }
  const { signal } = stopLast;
  delete document.documentElement.dataset.shown;
  await panels.get(name).show(parameters, signal);
  // The address whose view is complete.
  if (!signal.aborted) document.documentElement.dataset.shown = location.hash;
}

function heading(about) {
  const name = about.name || about.where.split("/").filter(Boolean).at(-1) || about.where;
  byId("name").dataset.name = name;
  byId("name").append(" ", data(name, "of"));
  const facts = [
    el("span", { class: `state ${/^[a-z]+$/.test(about.state) ? about.state : ""}` }, about.state),
    about.phase && data(about.phase),
    about.num_steps != null && many(about.num_steps, "step"),
    many(about.num_rows, "row"),
    about.num_tokens != null &&
      el("span", { title: full(about.num_tokens) }, short(about.num_tokens), " tokens"),
    about.max_seq_len != null && el("span", { class: "minor" }, `rows of up to ${full(about.max_seq_len)}`),
    about.view && el("span", { class: "minor" }, "view ", data(about.view)),
    many(about.sources.length, "source"),
    about.digest &&
      el(
        "span",
        { class: "minor" },
        el("code", { title: about.digest }, about.digest.slice(0, 12)),
        copyButton("Copy", about.digest, "Copy the digest of this order"),
      ),
  ];
  byId("facts").replaceChildren(...facts.filter(Boolean).map((one) => el("span", { class: "fact" }, one)));
  if (about.problems?.length) {
    byId("problems").append(
      el(
        "details",
        { class: "problem" },
        el("summary", {}, `${many(about.problems.length, "problem")} with what lies here`),
        el(
          "ul",
          {},
          about.problems.map((one) => el("li", {}, data(one))),
        ),
      ),
    );
  }
}

function showTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  byId("theme").replaceChildren(`Theme: ${THEMES[theme]}`);
  dispatchEvent(new Event("themechange"));
}

function nextTheme() {
  const names = Object.keys(THEMES);
  const theme = names[(names.indexOf(document.documentElement.dataset.theme ?? "auto") + 1) % names.length];
  localStorage.setItem("theme", theme);
  showTheme(theme);
}

function onKey(event) {
  const target = event.target;
  if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
  if (event.key === "Escape" && target.matches("input")) return target.blur();
  if (target.matches("input, select, textarea")) return;
  // What scrolls, or has choices of its own, keeps its arrows.
  if (event.key.startsWith("Arrow") && target.closest(".scroll, .tokens, pre, [role=tablist]")) return;
  const number = Number(event.key);
  if (event.key === "/") byId("find-text").focus();
  else if (event.key === "?") byId("help").showModal();
  else if (event.key === "t") nextTheme();
  else if (number >= 1 && number <= PANELS.length) location.hash = PANELS[number - 1][0];
  else if (event.defaultPrevented || !panels.get(current)?.onKey?.(event.key, event)) return;
  event.preventDefault();
}

async function start() {
  showTheme(localStorage.getItem("theme") in THEMES ? localStorage.getItem("theme") : "auto");
  byId("theme").addEventListener("click", nextTheme);
  byId("keys").addEventListener("click", () => byId("help").showModal());
  byId("skip").addEventListener("click", (event) => {
    event.preventDefault();
    byId("content").focus();
  });
  for (const media of ["(prefers-color-scheme: dark)", "print"])
    matchMedia(media).addEventListener("change", () => dispatchEvent(new Event("themechange")));
  let about;
  try {
    about = await ask("about");
  } catch (problem) {
    byId("content").append(problemBox(problem));
    return;
  }
  heading(about);
  const colours = makeColours(about);
  for (const [name, title, make] of PANELS) {
    byId("panels").append(el("a", { href: `#${name}`, "data-panel": name }, title));
    const panel = make({ about, colours, go });
    panel.root.id = `panel-${name}`;
    panel.root.setAttribute("aria-label", title);
    panels.set(name, panel);
    byId("content").append(panel.root);
  }
  byId("find").addEventListener("submit", (event) => {
    event.preventDefault();
    go("search", { text: byId("find-text").value });
    // From here on, the field of the panel has it.
    byId("find-text").value = "";
  });
  addEventListener("hashchange", route);
  document.addEventListener("keydown", onKey);
  route();
}

start();
