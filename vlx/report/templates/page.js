"use strict";

// Weights of cells at `samples` even steps along one axis: the twin of placement.Axis.mixing.
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

// A map as it was sent, whole numbers of a step in base64, as rows of cells.
function unpacked(sent, [h, w], bytes) {
  const raw = Uint8Array.from(atob(sent.cells), (letter) => letter.charCodeAt(0));
  const whole = bytes === 2 ? new Int16Array(raw.buffer) : new Int8Array(raw.buffer);
  return Array.from({ length: h }, (_, i) => Array.from(whole.subarray(i * w, (i + 1) * w), (value) => value * sent.step));
}

// An item with its maps unpacked; made once, when it is first shown.
function opened(item, grid, bytes = 2) {
  if (item.open) return item.open;
  const [signed, opposed, falls] = [item.signed, item.opposed, item.falls].map((sent, n) => sent && unpacked(sent, grid, n < 2 ? bytes : 2));
  return item.open = { signed, opposed, falls, reasons: item.reasons.map((sent) => unpacked(sent, grid, 1)) };
}

// What a view paints: cells that speak for the word are positive, those against it negative.
function cellsOf(item, view) {
  if (view === "occlusion") return item.falls;
  if (view === "guided" || !item.signed) return null; // a picture of its own, or no map
  const opposed = item.opposed || item.signed.map((row) => row.map((value) => -value));
  if (view === "for") return item.signed.map((row) => row.map((value) => Math.max(value, 0)));
  if (view === "against") return opposed.map((row) => row.map((value) => -Math.max(value, 0)));
  return item.signed;
}

function peakOf(item, view) {
  const grids = view === "occlusion" ? [item.falls || []] : [item.signed || [], item.opposed || []];
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

function start(root, data, shared, hash) {
  const all = (selector) => [...root.querySelectorAll(selector)], one = (selector) => root.querySelector(selector);
  const { ramps, rise } = shared, [H, W] = data.size;
  const state = { pins: [], over: null, last: 0, view: data.view, shared: false, opacity: 0.85, reason: null, held: null, open: false };
  const order = (list) => list.sort((a, b) => a.dataset.item - b.dataset.item);
  const buttons = order(all("button[data-item]")), told = order(all(".one")), panes = all(".pane");
  const item = (n) => opened(data.items[n], data.grid, data.bytes);
  const peakAt = (n, view = state.view) => peakOf(item(n), view), endOf = (view = state.view) => ({ occlusion: data.fallsTop, guided: data.guidedTop })[view] ?? data.top;
  const topOf = (n, view = state.view) => view === "guided" ? endOf(view) : !state.shared ? peakAt(n, view) : n < data.words ? endOf(view) : Math.max(endOf(view), peakAt(n, view));
  const fadeOf = (n, view = state.view) => state.shared || view === "occlusion" || view === "guided" ? 1 : data.items[n].fade;

  function draw(canvas, n, side, top, reason) {
    const shrink = Math.min(1, side / Math.max(H, W));
    const height = canvas.height = Math.max(1, Math.round(H * shrink)), width = canvas.width = Math.max(1, Math.round(W * shrink));
    const context = canvas.getContext("2d"), guided = one(`img[data-guided="${n}"]`);
    if (state.view === "guided" && guided && !reason) context.drawImage(guided, 0, 0, width, height);
    const grid = reason || cellsOf(item(n), state.view);
    if (!(top > 0) || !grid) return;
    const image = context.createImageData(width, height), last = ramps.for.length - 1, fade = reason ? 1 : fadeOf(n);
    const alphas = Array.from({ length: 256 }, (_, k) => Math.round(255 * fade * (k / 255) ** rise));
    paint(grid, data.axes, data.size, height, width).forEach((value, k) => {
      if (value === 0) return;
      const part = Math.min(Math.abs(value) / top, 1), color = (value > 0 ? ramps.for : ramps.against)[Math.round(part * last)];
      image.data[4 * k] = color[0];
      image.data[4 * k + 1] = color[1];
      image.data[4 * k + 2] = color[2];
      image.data[4 * k + 3] = alphas[Math.round(part * 255)];
    });
    context.putImageData(image, 0, 0);
  }

  function gradient(view) {
    const css = (colors) => colors.map((color) => `rgb(${color})`).join(", ");
    const cold = [...ramps.against].reverse();
    if (view === "guided") return "linear-gradient(to right, #000, #808080, #fff)";
    return `linear-gradient(to right, ${css(view === "for" ? ramps.for : view === "against" ? ramps.against : [...cold, ...ramps.for])})`;
  }

  // The colours with their ends; on the shared scale, and where all maps have one, with their numbers.
  function label(box, n, top, view) {
    const both = view !== "for" && view !== "against", shared = state.shared || view === "guided" || view === "occlusion";
    const { unit } = told[n].dataset, own = view === "occlusion" ? unit.replace(" per cell", "") : view === "guided" ? "gradient × map" : unit;
    const end = `${figure(top)} ${own}`, high = box.querySelector(".high a");
    box.querySelector(".gradient").style.background = gradient(view);
    box.querySelector(".low").textContent = !both ? "0" : shared ? figure(-top) : "against";
    high.textContent = shared ? `${end}, one scale for all` : both ? "for" : data.end;
    high.title = end;
  }

  // The map of a pane: its word's, or that of the reason under the pointer, in the focus or held.
  function fillMap(pane, n) {
    const { dataset } = told[n], part = [state.reason, state.held].find((one) => one && one.pane === pane && one.n === n);
    const view = part ? "signed" : state.view, top = topOf(n, view), meaning = part ? part.name + ": " + dataset.part : dataset[state.view];
    const canvas = pane.querySelector("canvas"), still = pane.querySelector(".still"), agreement = pane.querySelector(".agreement");
    draw(canvas, n, 640, top, part && item(n).reasons[part.k]);
    canvas.style.opacity = state.opacity;
    canvas.hidden = false;
    if (still) still.remove();
    pane.querySelector(".scale").hidden = !cellsOf(item(n), view) && view !== "guided";
    pane.querySelector(".picture svg").setAttribute("aria-label", "The picture under the map: " + meaning);
    pane.querySelector(".meaning").textContent = part || view !== "for" ? meaning : dataset.brief;
    pane.querySelector(".meaning").title = meaning;
    pane.querySelector(".fading").hidden = part || fadeOf(n, view) === 1 || !told[n].classList.contains("faded");
    if (agreement) agreement.textContent = part ? "" : dataset.agreement;
    label(pane, n, top, view);
    for (const button of pane.querySelectorAll("button.concept")) {
      button.closest("tr").classList.toggle("active", Boolean(part) && button.dataset.reason === String(part.k));
      button.setAttribute("aria-pressed", String(Boolean(state.held) && state.held.pane === pane && button.dataset.reason === String(state.held.k)));
    }
  }

  function fill(pane, n) {
    state.reason = state.held = null;
    const copies = [...told[n].children].filter((part) => part.matches("p.answer, details")).map((part) => part.cloneNode(true));
    for (const copy of copies) if (copy.matches("details")) {
      copy.open = state.open;
      copy.addEventListener("toggle", () => { state.open = copy.open; });
      copy.querySelectorAll("[data-reason]").forEach((span) => choosable(pane, n, span));
    }
    pane.querySelector(".card").replaceChildren(...copies);
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
      one(".status").textContent = held ? told[n].dataset.spoken : pane.querySelector(".meaning").textContent;
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
    const list = shown(), key = JSON.stringify([list, state.view, state.shared]);
    if (key !== previous) {
      panes.forEach((pane, k) => { pane.hidden = k >= list.length; if (k < list.length) fill(pane, list[k]); });
      one(".stage").classList.toggle("two", list.length === 2);
      one(".status").textContent = list.map((n) => told[n].dataset.spoken).join("; beside it ");
      previous = key;
    }
    buttons.forEach((button, n) => {
      button.classList.toggle("shown", list.includes(n));
      button.setAttribute("aria-pressed", String(state.pins.includes(n)));
      button.tabIndex = n === (state.over ?? state.last) || button.closest(".more") ? 0 : -1;
    });
    one(".unpin").hidden = !state.pins.length;
  }

  // The small maps in another view or scale; to begin with the stills that stand in the page say the same.
  function thumbnails() {
    const canvas = document.createElement("canvas");
    for (const box of all(".one")) {
      const map = box.querySelector(".thumb .map"), n = Number(box.dataset.item);
      if (!map) continue;
      draw(canvas, n, 200, topOf(n));
      map.setAttribute("href", canvas.toDataURL());
      map.style.opacity = state.opacity;
    }
  }

  let waiting = 0;
  function redraw() { show(); cancelAnimationFrame(waiting); waiting = requestAnimationFrame(thumbnails); }

  function remember() {
    if (!hash) return;
    const parts = [];
    if (state.pins.length) parts.push("pin=" + state.pins.join(","));
    if (state.view !== data.view) parts.push("view=" + state.view);
    if (state.shared) parts.push("shared=1");
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
    const line = buttons.filter((button) => !button.closest(".more, details:not([open])")), at = line.indexOf(document.activeElement), last = line.length - 1;
    const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: last }[event.key];
    if (at < 0 || to === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    line[(to + line.length) % line.length].focus();
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
  one(".shared").addEventListener("change", (event) => { state.shared = event.target.checked; redraw(); remember(); });
  one(".color").addEventListener("change", (event) => { root.classList.toggle("colored", event.target.checked); });
  for (const box of all(".one .thumb")) box.addEventListener("click", () => {
    enter(Number(box.closest(".one").dataset.item));
    one(".spoken").scrollIntoView({ block: "start", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  });

  // A link can carry a state: #word-2, or #word=2, #pin=2,6, #view=signed, #shared=1 joined by &.
  function recall(text) {
    const wish = new URLSearchParams(text.replace(/^#word-(\d+)/, "word=$1").replace(/^#/, ""));
    const known = (list) => (list || "").split(",").filter((part) => /^\d+$/.test(part)).map(Number).filter((n) => n < data.items.length);
    state.last = known(wish.get("word"))[0] ?? state.last;
    state.pins = known(wish.get("pin")).slice(0, 2);
    if (all("input[type=radio]").some((radio) => radio.value === wish.get("view"))) state.view = wish.get("view");
    state.shared = wish.get("shared") === "1";
    one(`input[value=${state.view}]`).checked = true;
    one(".shared").checked = state.shared;
  }
  state.last = data.first;
  state.opacity = one(".opacity").value / 100;
  if (hash) recall(location.hash);
  one(".controls").hidden = false;
  if (state.shared || state.view !== data.view) thumbnails();
  show();
  if (all("img[data-guided]").length) Promise.allSettled(all("img[data-guided]").map((image) => image.decode())).then(() => { previous = ""; redraw(); });
}

// A term shows what it means beside it; without a script its link leads to the list at the end.
function explainTerms() {
  const bubble = document.getElementById("bubble");
  if (!bubble.showPopover) return;
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a.term"), meant = link && document.getElementById(link.hash.slice(1));
    if (!meant) return;
    event.preventDefault();
    const { left, bottom } = link.getClientRects()[0];
    bubble.querySelector("b").textContent = meant.querySelector("dt").textContent;
    bubble.querySelector("p").textContent = meant.querySelector("dd").textContent + (link.title ? " Here: " + link.title : "");
    bubble.showPopover();
    bubble.style.left = Math.max(8, Math.min(left, innerWidth - bubble.offsetWidth - 8)) + "px";
    bubble.style.top = Math.max(8, Math.min(bottom + 6, innerHeight - bubble.offsetHeight - 8)) + "px";
  });
}

if (typeof document !== "undefined") {
  const data = JSON.parse(document.getElementById("data").textContent);
  explainTerms();
  document.querySelectorAll(".panel").forEach((root, n) => {
    if (data.panels[n].items.length && root.querySelector(".spoken")) start(root, data.panels[n], data, n === 0);
  });
}
