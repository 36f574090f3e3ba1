// Search as one types, runs as they happen, buttons that copy. Every page works without it.
"use strict";
const $ = (selector, from = document) => from.querySelector(selector);
const $$ = (selector, from = document) => [...from.querySelectorAll(selector)];
const isStatic = "static" in document.body.dataset;
document.documentElement.classList.add("script");

// The list of papers follows the form: from the server, or among the cards of an exported site.
function search(form) {
  const list = $("#papers");
  let timer = 0, asked = 0;
  async function show() {
    const query = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
    if (query.get("sort") === "newest") query.delete("sort");
    const number = ++asked, address = query.size ? `?${query}` : location.pathname;
    history.replaceState(null, "", address);
    if (isStatic) return filter(query);
    query.set("part", "list");
    const answer = await fetch(`?${query}`).catch(() => null);
    if (number !== asked) return; // something newer was typed meanwhile
    if (answer && answer.ok) list.innerHTML = await answer.text();
    else if (answer) list.textContent = await answer.text();
  }
  function filter(query) {
    const words = (query.get("q") || "").toLowerCase().split(/\s+/).filter(Boolean);
    const grid = $(".cards"), by = query.get("sort") === "trending" ? "trend" : "date";
    let n = 0;
    for (const card of $$(".card", grid)) {
      const has = (name, value) => !value || card.dataset[name].split(" ").includes(value);
      card.hidden = !(words.every((word) => card.dataset.text.includes(word)) && has("tags", query.get("tag")) && has("verdicts", query.get("verdict")));
      n += !card.hidden;
    }
    const value = (card) => (by === "trend" ? Number(card.dataset.trend) : card.dataset.date);
    grid.append(...$$(".card", grid).sort((a, b) => (value(a) < value(b) ? 1 : value(a) > value(b) ? -1 : 0)));
    const found = $(".found");
    found.hidden = !query.size;
    found.textContent = n === 1 ? "1 paper" : `${n} papers`;
  }
  form.addEventListener("submit", (event) => { event.preventDefault(); show(); });
  form.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(show, 120); });
  if (isStatic && location.search) {
    for (const [name, value] of new URLSearchParams(location.search)) {
      const field = form.elements[name];
      if (field) field.value = value;
    }
    filter(new URLSearchParams(location.search));
  }
}

// A run: its events, from where the page was made.
function watch(box) {
  const live = $("[data-live]", box), start = $("[data-start]", box), cancel = $("[data-cancel]", box);
  let source = null, last = 0;
  function follow(id, after) {
    if (source) source.close();
    last = after;
    source = new EventSource(`/runs/${id}/events?after=${last}`);
    source.addEventListener("run", (message) => { last = message.lastEventId; apply(JSON.parse(message.data)); });
    // A browser connects again by itself; where it has given up, the page tells how the run stands.
    source.onerror = () => { if (source.readyState === EventSource.CLOSED) setTimeout(look, 2000); };
  }
  async function look() {
    const page = await fresh();
    const other = page && $("[data-run]", page);
    if (!other) setTimeout(look, 2000);
    else if ("active" in other.dataset) follow(other.dataset.run, last);
    else location.reload();
  }
  async function fresh() {
    const answer = await fetch(location.pathname).catch(() => null);
    return answer && answer.ok ? new DOMParser().parseFromString(await answer.text(), "text/html") : null;
  }
  function apply(event) {
    live.hidden = false;
    if (event.words) $("[data-state]", box).textContent = event.words;
    const step = event.claim && $(`[data-claim="${CSS.escape(event.claim)}"]`, box);
    if (step) {
      const bar = $("progress", step), pip = $(".pip", step);
      if (event.state) step.className = event.state;
      if (event.seeds) { bar.max = event.seeds; bar.value = 0; }
      if (event.done !== undefined) bar.value = event.done;
      if (event.state === "done" || event.state === "failed") bar.value = bar.max;
      if (event.mark) { pip.textContent = event.mark; pip.className = `pip ${event.slug}`; }
      if (event.text) $(".out", step).textContent = event.text;
    }
    if (event.printed) {
      const log = $("[data-log]", box), pre = $("pre", log);
      log.hidden = false;
      pre.textContent = (pre.textContent + event.printed).slice(-20000);
      pre.scrollTop = pre.scrollHeight;
    }
    if (event.ended) finish(event);
  }
  async function finish(event) {
    source.close();
    if (start) { start.hidden = false; $("button", start).disabled = false; }
    if (cancel) cancel.hidden = true;
    for (const step of $$(".steps .running", box)) step.className = "waiting";
    if (event.ended === "failed") $("[data-log]", box).open = true;
    const page = await fresh();
    for (const part of $$("[data-swap]")) {
      const newer = page && page.getElementById(part.id);
      if (newer) part.innerHTML = newer.innerHTML;
    }
    copyButtons();
  }
  async function send(form) {
    const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)), headers: { Accept: "application/json" } }).catch(() => null);
    live.hidden = false;
    if (!answer) return void ($("[data-state]", box).textContent = "The server does not answer.");
    const found = await answer.json();
    if (!answer.ok) return void ($("[data-state]", box).textContent = found.error);
    return found;
  }
  start?.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = $("button", start);
    button.disabled = true;
    const run = await send(start);
    if (!run) return void (button.disabled = false);
    for (const step of $$("[data-claim]", box)) {
      step.className = "waiting";
      $("progress", step).value = 0;
      $(".out", step).textContent = "";
      $(".pip", step).textContent = "·";
      $(".pip", step).className = "pip open";
    }
    $("[data-log]", box).hidden = true;
    $("[data-log] pre", box).textContent = "";
    start.hidden = true;
    cancel.hidden = false;
    cancel.action = `/runs/${run.id}/cancel`;
    follow(run.id, 0);
  });
  cancel?.addEventListener("submit", (event) => { event.preventDefault(); send(cancel); });
  if ("active" in box.dataset) follow(box.dataset.run, box.dataset.last);
}

function copyButtons() {
  if (!navigator.clipboard) return;
  for (const place of $$(".copy:not(:has(button))")) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText($("code", place).textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    place.append(button);
  }
}

const form = $("[data-search]"), run = $("[data-run]");
if (form) search(form);
if (run) watch(run);
copyButtons();
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && $("#q")) {
    event.preventDefault();
    $("#q").focus();
  }
});
