"use strict";

// Weights of cells at `samples` even steps along one axis: the twin of cells.Axis.mixing.
function mixing(axis, pixels, cells, samples) {
  const low = new Int32Array(samples), part = new Float64Array(samples), seen = new Uint8Array(samples);
  for (let k = 0; k < samples; k++) {
    const pixel = (k + 0.5) * pixels / samples - 0.5;
    const place = Math.min(Math.max((pixel - axis.origin) / axis.step, 0), cells - 1);
    low[k] = Math.min(Math.floor(place), Math.max(cells - 2, 0));
    part[k] = place - low[k];
    seen[k] = pixel >= axis.first - 0.5 && pixel <= axis.stop - 0.5 ? 1 : 0;
  }
  return { low, part, seen };
}

// A grid of cells on the picture drawn at width × height, bilinear, row by row: the twin of Placement.paint.
function paint(grid, axes, size, height, width) {
  const h = grid.length, w = grid[0].length, values = new Float32Array(height * width);
  const rows = mixing(axes[0], size[0], h, height), columns = mixing(axes[1], size[1], w, width);
  const line = new Float64Array(w);
  for (let y = 0; y < height; y++) {
    if (!rows.seen[y]) continue;
    const upper = grid[rows.low[y]], lower = grid[Math.min(rows.low[y] + 1, h - 1)], down = rows.part[y];
    for (let j = 0; j < w; j++) line[j] = (1 - down) * upper[j] + down * lower[j];
    for (let x = 0; x < width; x++) {
      if (!columns.seen[x]) continue;
      const j = columns.low[x], right = columns.part[x];
      values[y * width + x] = (1 - right) * line[j] + right * line[Math.min(j + 1, w - 1)];
    }
  }
  return values;
}

// What a view paints: cells that speak for the word are positive, those against it negative.
function cellsOf(item, view) {
  if (view === "occlusion") return item.falls;
  if (view === "guided") return null; // a picture of its own
  const opposed = item.opposed || item.signed.map((row) => row.map((value) => -value));
  if (view === "for") return item.signed.map((row) => row.map((value) => Math.max(value, 0)));
  if (view === "against") return opposed.map((row) => row.map((value) => -Math.max(value, 0)));
  return item.signed;
}

// The map of one reason: whole numbers of its step, both signs.
function partOf(reason) {
  return reason.cells.map((row) => row.map((value) => value * reason.step));
}

function peakOf(item, view) {
  const grids = view === "occlusion" ? [item.falls || []] : item.opposed ? [item.signed, item.opposed] : [item.signed];
  return grids.flat(2).reduce((most, value) => Math.max(most, Math.abs(value)), 0);
}

const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";
function figure(value) {
  if (value === 0) return "0";
  if (Math.abs(value) >= 1e-3 && Math.abs(value) < 1e5) return String(+value.toPrecision(3)).replace("-", "−");
  const [mantissa, exponent] = value.toExponential(1).split("e");
  const power = exponent.replace("+", "").replace("-", "⁻").replace(/\d/g, (digit) => SUPERSCRIPTS[+digit]);
  return (mantissa + "×10" + power).replace("-", "−");
}

function start(root, data, shared, source, hash) {
  const all = (selector) => [...root.querySelectorAll(selector)], one = (selector) => root.querySelector(selector);
  const { ramps, rise } = shared, [H, W] = data.size;
  const state = { pins: [], over: null, last: 0, view: data.view, own: false, opacity: 0.85, reason: null, held: null };
  const buttons = all("button[data-item]"), details = all("template.detail"), panes = all(".pane");
  const peakAt = (n, view = state.view) => peakOf(data.items[n], view), endOf = (view = state.view) => ({ occlusion: data.fallsTop, guided: data.guidedTop })[view] ?? data.top;
  const topOf = (n, view = state.view) => view === "guided" ? endOf(view) : state.own ? peakAt(n, view) : n < data.words ? endOf(view) : Math.max(endOf(view), peakAt(n, view));

  function draw(canvas, n, side, top, reason) {
    const shrink = Math.min(1, side / Math.max(H, W));
    const height = canvas.height = Math.max(1, Math.round(H * shrink)), width = canvas.width = Math.max(1, Math.round(W * shrink));
    const context = canvas.getContext("2d"), guided = one(`img[data-guided="${n}"]`);
    if (state.view === "guided" && guided && !reason) context.drawImage(guided, 0, 0, width, height);
    const grid = reason ? partOf(reason) : cellsOf(data.items[n], state.view);
    if (!(top > 0) || !grid) return;
    const image = context.createImageData(width, height), last = ramps.for.length - 1;
    paint(grid, data.axes, data.size, height, width).forEach((value, k) => {
      const share = Math.min(Math.abs(value) / top, 1);
      if (share === 0) return;
      const color = (value > 0 ? ramps.for : ramps.against)[Math.round(share * last)];
      image.data.set([color[0], color[1], color[2], Math.round(255 * share ** rise)], 4 * k);
    });
    context.putImageData(image, 0, 0);
  }

  function gradient(view) {
    const css = (colors) => colors.map((color) => `rgb(${color})`).join(", ");
    const cold = [...ramps.against].reverse();
    if (view === "guided") return "linear-gradient(to right, #000, #808080, #fff)";
    return `linear-gradient(to right, ${css(view === "for" ? ramps.for : view === "against" ? ramps.against : [...cold, ...ramps.for])})`;
  }

  function label(box, top, unit, remark, view = state.view) {
    const [low, high] = view === "for" || view === "against" ? [0, top] : [-top, top];
    box.querySelector(".gradient").style.background = gradient(view);
    box.querySelector(".low").textContent = figure(low);
    box.querySelector(".high").textContent = figure(high);
    box.querySelector(".unit").textContent = unit + remark;
  }

  function unitOf(unit) {
    return state.view === "occlusion" ? unit.replace(" per cell", "") : state.view === "guided" ? "gradient × map, one scale for all" : unit;
  }

  // The map of a pane: its word's, or that of the reason under the pointer, in the focus or held.
  function fillMap(pane, n) {
    const { dataset } = details[n], part = [state.reason, state.held].find((one) => one && one.pane === pane && one.n === n);
    const view = part ? "signed" : state.view, top = topOf(n, view), meaning = part ? part.name + ": " + dataset.part : dataset[state.view];
    draw(pane.querySelector("canvas"), n, 640, top, part && data.items[n].reasons[part.k]);
    pane.querySelector("canvas").style.opacity = state.opacity;
    pane.querySelector("img").alt = "The picture under the map: " + meaning;
    pane.querySelector(".meaning").textContent = meaning;
    const agreement = pane.querySelector(".agreement"), unit = part ? dataset.unit : unitOf(dataset.unit);
    if (agreement) agreement.textContent = part ? "" : dataset.agreement;
    label(pane, top, unit, view === "guided" ? "" : state.own ? ", a scale of its own" : top > endOf(view) ? ", beyond the shared scale" : "", view);
    for (const button of pane.querySelectorAll("button.concept")) {
      button.closest("tr").classList.toggle("active", Boolean(part) && button.dataset.reason === String(part.k));
      button.setAttribute("aria-pressed", String(Boolean(state.held) && state.held.pane === pane && button.dataset.reason === String(state.held.k)));
    }
  }

  function fill(pane, n) {
    state.reason = state.held = null;
    pane.querySelector(".card").replaceChildren(details[n].content.cloneNode(true));
    const slot = pane.querySelector(".slot"), table = one(`details.told[data-item="${n}"] .body`);
    if (slot && table) slot.append(...table.cloneNode(true).children);
    if (slot) slot.querySelectorAll("[data-reason]").forEach((span) => choosable(pane, n, span));
    fillMap(pane, n);
  }

  // A concept in the table becomes a button; its row shows the reason's own map.
  function choosable(pane, n, span) {
    const button = document.createElement("button"), row = span.closest("tr");
    const reason = { pane, n, k: Number(span.dataset.reason), name: span.textContent };
    button.type = "button";
    button.className = span.className;
    button.dataset.reason = span.dataset.reason;
    button.append(...span.childNodes);
    span.replaceWith(button);
    const turn = (over) => { state.reason = over; fillMap(pane, n); };
    row.addEventListener("pointerenter", (event) => { if (event.pointerType === "mouse") turn(reason); });
    row.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") turn(null); });
    button.addEventListener("focus", () => { if (button.matches(":focus-visible")) turn(reason); });
    button.addEventListener("blur", () => turn(null));
    button.addEventListener("click", () => {
      const before = state.held, held = before && before.pane === pane && before.k === reason.k;
      state.held = held ? null : reason;
      if (before && before.pane !== pane) fillMap(before.pane, before.n);
      turn(held ? null : state.reason);
      one(".status").textContent = held ? details[n].dataset.spoken : pane.querySelector(".meaning").textContent;
    });
  }

  function release() {
    const { pane, n } = state.held;
    state.reason = state.held = null;
    fillMap(pane, n);
  }

  function shown() {
    const { pins, over, last } = state;
    if (!pins.length) return [over ?? last];
    return over === null || pins.includes(over) ? pins : [pins[0], over];
  }

  let previous = "";
  function show() {
    const list = shown(), key = JSON.stringify([list, state.view, state.own]);
    if (key !== previous) {
      panes.forEach((pane, k) => { pane.hidden = k >= list.length; if (k < list.length) fill(pane, list[k]); });
      one(".stage").classList.toggle("two", list.length === 2);
      one(".status").textContent = list.map((n) => details[n].dataset.spoken).join("; beside it ");
      previous = key;
    }
    buttons.forEach((button, n) => {
      button.classList.toggle("shown", list.includes(n));
      button.setAttribute("aria-pressed", String(state.pins.includes(n)));
      button.tabIndex = n === (state.over ?? state.last) ? 0 : -1;
    });
    one(".unpin").hidden = !state.pins.length;
  }

  function thumbnails() {
    for (const tile of all(".tiles figure[data-item]")) {
      const still = tile.querySelector("img"), canvas = tile.querySelector("canvas"), map = document.createElement("canvas");
      const n = Number(tile.dataset.item), shrink = Math.min(1, 320 / Math.max(H, W)), context = canvas.getContext("2d");
      const width = canvas.width = Math.max(1, Math.round(W * shrink)), height = canvas.height = Math.max(1, Math.round(H * shrink));
      draw(map, n, 320, topOf(n));
      context.filter = root.classList.contains("colored") ? "none" : "saturate(.18) contrast(.86) brightness(1.08)";
      context.drawImage(source, 0, 0, width, height);
      context.filter = "none";
      context.globalAlpha = state.opacity;
      context.drawImage(map, 0, 0, width, height);
      canvas.hidden = false;
      still.hidden = true;
    }
    const still = one(".scale.static");
    if (still) label(still, endOf(), unitOf(details[0].dataset.unit), "");
    if (still) still.hidden = state.own;
    if (one(".faint")) one(".faint").hidden = state.own;
    if (data.words > 1) one(".all h2").textContent = one(".all h2").dataset[state.own ? "own" : "shared"];
  }

  let waiting = 0;
  function redraw() { show(); cancelAnimationFrame(waiting); waiting = requestAnimationFrame(thumbnails); }

  function remember() {
    if (!hash) return;
    const parts = [];
    if (state.pins.length) parts.push("pin=" + state.pins.join(","));
    if (state.view !== data.view) parts.push("view=" + state.view);
    if (state.own) parts.push("own=1");
    try { history.replaceState(null, "", parts.length ? "#" + parts.join("&") : location.pathname + location.search); } catch { /* in a notebook */ }
  }

  function enter(n) { clearTimeout(leaving); state.over = state.last = n; show(); }
  let leaving = 0;
  function leave() { clearTimeout(leaving); leaving = setTimeout(() => { state.over = null; show(); }, 160); }
  function pin(n) {
    state.pins = state.pins.includes(n) ? state.pins.filter((other) => other !== n) : [...state.pins, n].slice(-2);
    show(); remember();
  }
  function unpin() { state.pins = []; show(); remember(); }

  buttons.forEach((button, n) => {
    let touched = false; // the first tap shows, the next pins
    button.addEventListener("pointerenter", (event) => { if (event.pointerType === "mouse") enter(n); });
    button.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse" && document.activeElement !== button) leave(); });
    button.addEventListener("pointerdown", (event) => { touched = event.pointerType === "touch" && !shown().includes(n); });
    button.addEventListener("focus", () => enter(n));
    button.addEventListener("blur", leave);
    button.addEventListener("click", () => { enter(n); if (!touched) pin(n); touched = false; });
  });
  root.addEventListener("keydown", (event) => {
    const at = buttons.indexOf(document.activeElement), last = buttons.length - 1;
    const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: last }[event.key];
    if (at < 0 || to === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    buttons[(to + buttons.length) % buttons.length].focus();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    if (state.held) release();
    else if (state.pins.length) unpin();
  });
  one(".unpin").addEventListener("click", unpin);
  for (const radio of all("input[type=radio]")) radio.addEventListener("change", () => { state.view = radio.value; redraw(); remember(); });
  one(".opacity").addEventListener("input", (event) => {
    state.opacity = event.target.value / 100;
    for (const canvas of all(".pane canvas")) canvas.style.opacity = state.opacity;
  });
  one(".opacity").addEventListener("change", redraw);
  one(".own").addEventListener("change", (event) => { state.own = event.target.checked; redraw(); remember(); });
  one(".color").addEventListener("change", (event) => { root.classList.toggle("colored", event.target.checked); redraw(); });
  for (const tile of all(".tiles figure[data-item]")) tile.addEventListener("click", () => {
    enter(Number(tile.dataset.item));
    one(".words").scrollIntoView({ block: "start", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  });

  // A link can carry a state: #word-2, or #word=2, #pin=2,6, #view=signed, #own=1 joined by &.
  function recall(text) {
    const wish = new URLSearchParams(text.replace(/^#word-(\d+)/, "word=$1").replace(/^#/, ""));
    const known = (list) => (list || "").split(",").filter((part) => /^\d+$/.test(part)).map(Number).filter((n) => n < data.items.length);
    state.last = known(wish.get("word"))[0] ?? state.last;
    state.pins = known(wish.get("pin")).slice(0, 2);
    if (all("input[type=radio]").some((radio) => radio.value === wish.get("view"))) state.view = wish.get("view");
    state.own = wish.get("own") === "1";
    one(`input[value=${state.view}]`).checked = true;
    one(".own").checked = state.own;
  }
  state.last = data.first;
  state.opacity = one(".opacity").value / 100;
  if (hash) recall(location.hash);
  for (const image of all(".pane img")) if (!image.src) image.src = source.src;
  root.querySelector(".app").hidden = false;
  show();
  Promise.allSettled([source, ...all("img[data-guided]")].map((image) => image.decode())).then(() => { previous = ""; show(); thumbnails(); });
}

if (typeof document !== "undefined") {
  const data = JSON.parse(document.getElementById("data").textContent);
  let source = null;
  document.querySelectorAll(".panel").forEach((root, n) => {
    source = root.querySelector("img.source") || source;
    if (data.panels[n].items.length) start(root, data.panels[n], data, source, n === 0);
  });
}
