// Theme, filters of the list of claims, search. Works from file:// too: nothing is requested.
"use strict";

// Lower case without accents, digits without separators: "6 706 958 336", "6,706,958,336" and "6706958336" are one.
function plain(text) {
  return text
    .normalize("NFD").replace(/[\u0300-\u036f]/g, "").toLowerCase()
    .replace(/(\d)[\s,'\u202f\u2009\u00a0](?=\d{3}(?!\d))/g, "$1")
    .replace(/(\d),(?=\d)/g, "$1.");
}

function words(text) {
  return plain(text).split(/\s+/).filter(Boolean);
}

function theme() {
  const root = document.documentElement;
  document.getElementById("theme").addEventListener("click", () => {
    const now = root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    root.dataset.theme = now === "dark" ? "light" : "dark";
    try { localStorage.setItem("theme", root.dataset.theme); } catch { /* only this page, then */ }
  });
}

function keys() {
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      document.getElementById("q").focus();
    }
  });
}

// The place a link points to may lie in something closed.
function reveal() {
  const place = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const closed = place && place.closest("details:not([open])");
  if (closed) {
    closed.open = true;
    place.scrollIntoView();
  }
}

function filters(form) {
  const rows = [...document.querySelectorAll("#claims tbody tr")];
  const texts = rows.map((row) => plain(`${row.textContent} ${row.dataset.more}`));
  const asked = new URLSearchParams(location.search);
  for (const [name, value] of asked) if (form.elements[name]) form.elements[name].value = value;
  const apply = () => {
    const wanted = words(form.elements.text.value);
    let shown = 0;
    rows.forEach((row, index) => {
      const fits = ["verdict", "stage", "tier"].every((name) => {
        const value = form.elements[name].value;
        return !value || row.dataset[name] === value;
      }) && wanted.every((word) => texts[index].includes(word));
      row.hidden = !fits;
      shown += fits;
    });
    document.getElementById("found").textContent = `${shown} of ${rows.length} claims`;
  };
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(apply));
  apply();
}

const LONGEST_LIST = 60;

function search(form) {
  const index = SEARCH.map(([title, kind, page, text]) => ({ title, kind, page, text, all: plain(`${title} ${text}`), name: plain(title) }));
  const list = document.getElementById("hits");
  const box = form.elements.q;
  const show = () => {
    const wanted = words(box.value);
    const hits = wanted.length ? index.filter((entry) => wanted.every((word) => entry.all.includes(word))) : [];
    hits.sort((a, b) => wanted.every((w) => b.name.includes(w)) - wanted.every((w) => a.name.includes(w)));
    list.replaceChildren(...hits.slice(0, LONGEST_LIST).map((hit) => entry(hit, wanted)));
    const more = hits.length > LONGEST_LIST ? `, the first ${LONGEST_LIST} shown` : "";
    document.getElementById("found").textContent = wanted.length ? `${hits.length} found${more}` : "";
  };
  box.value = new URLSearchParams(location.search).get("q") || "";
  document.getElementById("q").value = box.value;
  box.addEventListener("input", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  show();
  box.focus();
}

const AROUND = 70; // characters shown on each side of what was found

function entry(hit, wanted) {
  const item = document.createElement("li");
  const link = document.createElement("a");
  link.href = hit.page;
  link.textContent = hit.title;
  const kind = document.createElement("span");
  kind.className = "kind";
  kind.textContent = hit.kind;
  const at = Math.max(0, plain(hit.text).indexOf(wanted[0]));
  const around = document.createElement("p");
  const start = Math.max(0, at - AROUND);
  around.textContent = (start ? "… " : "") + hit.text.slice(start, at + 2 * AROUND) + (hit.text.length > at + 2 * AROUND ? " …" : "");
  item.append(kind, " ", link, around);
  return item;
}

document.addEventListener("DOMContentLoaded", () => {
  theme();
  keys();
  reveal();
  addEventListener("hashchange", reveal);
  const claims = document.getElementById("filters");
  if (claims) filters(claims);
  const searching = document.getElementById("searching");
  if (searching) search(searching);
});
