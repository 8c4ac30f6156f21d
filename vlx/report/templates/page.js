"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const state = { pins: [], over: null, view: "for", opacity: 0.85, own: false, color: false };
  document.documentElement.classList.add("js");
  $("app").hidden = false;

  const make = (tag, className, content) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (content !== undefined) element.textContent = content;
    return element;
  };
  const number = (value) => value === 0 ? "0" : Math.abs(value) >= 0.01 && Math.abs(value) < 1000 ? String(+value.toPrecision(3)) : value.toExponential(1);
  const percent = (p) => p >= 0.9995 ? "> 99.9 %" : p < 0.0005 ? "< 0.1 %" : (100 * p).toFixed(1) + " %";

  // The grid that a view paints, positive where it speaks for the word (or, in "against", against it).
  const grid = (item) => {
    if (state.view !== "against") return item.signed;
    return item.opposed || item.signed.map((row) => row.map((value) => -value));
  };
  const peak = (item) => Math.max(0, ...item.signed.flat().map(Math.abs), ...(item.opposed || []).flat().map(Math.abs));
  const top = (item) => state.own || item.kind !== "word" ? peak(item) : data.top;

  // Bilinear between the centres of cells, edge values held: the same numbers as Placement.paint.
  const between = (cells, i, j) => {
    const h = cells.length, w = cells[0].length;
    i = Math.min(Math.max(i, 0), h - 1); j = Math.min(Math.max(j, 0), w - 1);
    const i0 = Math.min(Math.floor(i), Math.max(h - 2, 0)), j0 = Math.min(Math.floor(j), Math.max(w - 2, 0));
    const i1 = Math.min(i0 + 1, h - 1), j1 = Math.min(j0 + 1, w - 1), y = i - i0, x = j - j0;
    return (1 - y) * ((1 - x) * cells[i0][j0] + x * cells[i0][j1]) + y * ((1 - x) * cells[i1][j0] + x * cells[i1][j1]);
  };

  const paint = (canvas, item) => {
    const [H, W] = data.size, shrink = Math.min(1, 480 / Math.max(H, W));
    const height = canvas.height = Math.max(1, Math.round(H * shrink)), width = canvas.width = Math.max(1, Math.round(W * shrink));
    const context = canvas.getContext("2d"), pixels = context.createImageData(width, height);
    const high = top(item), signed = state.view === "signed", ramp = signed ? data.diverging : data.heat, last = ramp.length - 1;
    const cells = signed ? item.signed : grid(item).map((row) => row.map((value) => Math.max(value, 0)));
    const [[ay, by], [ax, bx]] = data.cells, [t, b, l, r] = data.seen;
    if (high > 0) for (let v = 0; v < height; v++) for (let u = 0; u < width; u++) {
      const y = (v + 0.5) * H / height - 0.5, x = (u + 0.5) * W / width - 0.5;
      if (y < t - 0.5 || y > b - 0.5 || x < l - 0.5 || x > r - 0.5) continue;
      const share = Math.min(Math.max(between(cells, ay * y + by, ax * x + bx) / high, -1), 1);
      const color = ramp[Math.round((signed ? (share + 1) / 2 : share) * last)], at = 4 * (v * width + u);
      pixels.data[at] = color[0]; pixels.data[at + 1] = color[1]; pixels.data[at + 2] = color[2];
      pixels.data[at + 3] = Math.round(255 * state.opacity * Math.abs(share) ** 0.75);
    }
    context.putImageData(pixels, 0, 0);
  };

  const fact = (list, name, value) => { list.append(make("dt", "", name), make("dd", "", value)); };

  const card = (item) => {
    const box = make("div", "card"), facts = make("dl", "facts");
    box.append(make("h2", "", item.label), make("p", "kind", item.kind === "word" ? "word" : item.kind === "phrase" ? "phrase: its words’ maps summed" : "the whole text as one target"));
    if (peak(item) === 0) box.append(make("p", "flat", "The map is zero everywhere: the score does not depend on the feature map."));
    fact(facts, "probability", percent(item.p));
    fact(facts, "log p", item.logprob.toFixed(3));
    if (item.seen !== null) fact(facts, "seen", (item.seen >= 0 ? "+" : "−") + Math.abs(item.seen).toFixed(2) + " nats owed to the picture");
    if (item.target !== "logprob") fact(facts, item.target, number(item.score));
    fact(facts, "map’s peak", number(Math.max(0, ...item.signed.flat())) + " " + item.unit);
    box.append(facts);
    for (const note of item.notes) box.append(make("p", "flat", note));
    if (item.alternatives.length) {
      box.append(make("p", "small", "What could have stood here"));
      const list = make("ul", "alts");
      for (const [label, p] of item.alternatives) {
        const row = make("li"), track = make("span", "track"), fill = make("span", "fill");
        fill.style.width = 100 * p + "%";
        track.append(fill);
        row.append(make("span", "name" + (label === item.label ? " said" : ""), label), track, make("span", "share", percent(p)));
        list.append(row);
      }
      box.append(list);
    }
    return box;
  };

  const shown = () => {
    const list = [...state.pins];
    if (state.over !== null && !list.includes(state.over) && list.length < 2) list.push(state.over);
    return list;
  };

  const views = new Map();
  const view = (n) => {
    if (!views.has(n)) {
      const box = make("section", "view"), picture = make("div", "picture"), image = new Image(), canvas = make("canvas");
      image.src = data.image; image.width = data.size[1]; image.height = data.size[0];
      image.alt = "The picture, with the map of: " + data.items[n].label;
      picture.append(image, canvas); box.append(picture, card(data.items[n]));
      views.set(n, { box, canvas });
    }
    return views.get(n);
  };

  const draw = () => {
    const list = shown();
    $("stage").classList.toggle("two", list.length === 2);
    $("stage").replaceChildren(...list.map((n) => view(n).box));
    for (const n of list) {
      paint(view(n).canvas, data.items[n]);
      view(n).canvas.parentElement.classList.toggle("muted", !state.color);
    }
    buttons.forEach((button, n) => {
      button.classList.toggle("pinned", state.pins.includes(n));
      button.classList.toggle("shown", list.includes(n));
      button.setAttribute("aria-pressed", String(state.pins.includes(n)));
    });
    legend(list.map((n) => data.items[n]));
  };

  const legend = (items) => {
    const signed = state.view === "signed", first = items[0];
    if (!first) return;
    const tops = [...new Set(items.map(top))], high = tops.length === 1 ? number(tops[0]) : tops.map(number).join(" | ");
    $("low").textContent = signed ? "−" + high : "0";
    $("high").textContent = high;
    $("unit").textContent = first.unit + (state.own || first.kind !== "word" ? ", scale of its own" : ", one scale for all words");
    $("gradient").style.background = "linear-gradient(to right, " + (signed ? data.diverging : data.heat).map((c) => `rgb(${c})`).join(", ") + ")";
    $("meaning").textContent = { for: "Regions whose features most raise the word’s score.", against: "Regions that speak against the word: without them its score would be higher (the counterfactual).", signed: "What raises the word’s score, and what lowers it." }[state.view];
  };

  const press = (n) => {
    state.pins = state.pins.includes(n) ? state.pins.filter((pin) => pin !== n) : [...state.pins, n].slice(-2);
    state.over = n;
    draw();
  };

  const most = Math.max(1e-9, ...data.items.slice(0, data.words).map((item) => item.seen ?? 0));
  const buttons = data.items.map((item, n) => {
    const button = make("button", "word", item.kind === "sentence" ? "the whole text" : item.label);
    button.type = "button";
    if (item.kind === "word" && item.seen !== null) {
      button.style.setProperty("--seen", Math.max(0, Math.min(1, item.seen / most)).toFixed(3));
      button.classList.toggle("unseen", item.seen < 0.1);
      button.title = item.seen < 0.1 ? "owes next to nothing to the picture" : item.seen.toFixed(1) + " nats owed to the picture";
    }
    button.addEventListener("mouseenter", () => { state.over = n; draw(); });
    button.addEventListener("focus", () => { state.over = n; draw(); });
    button.addEventListener("click", () => press(n));
    return button;
  });
  $("words").append(...buttons.slice(0, data.words));
  if (buttons.length > data.words) $("more").append(make("span", "", "Phrases:"), ...buttons.slice(data.words));

  document.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key], at = buttons.indexOf(document.activeElement);
    if (event.key === "Escape") { state.pins = []; draw(); }
    else if (step && at >= 0) { buttons[(at + step + buttons.length) % buttons.length].focus(); event.preventDefault(); }
    else if (step && document.activeElement === document.body && buttons.length) buttons[state.over ?? 0].focus();
  });
  for (const radio of document.getElementsByName("view")) radio.addEventListener("change", () => { state.view = radio.value; draw(); });
  $("opacity").addEventListener("input", (event) => { state.opacity = event.target.value / 100; draw(); });
  $("color").addEventListener("change", (event) => { state.color = event.target.checked; draw(); });
  $("own").addEventListener("change", (event) => { state.own = event.target.checked; draw(); });

  // A state can be linked to: #word=2, #pin=2,6, #view=signed
  const wish = new URLSearchParams(location.hash.slice(1));
  const valid = (text) => text.split(",").map(Number).filter((n) => n >= 0 && n < data.items.length);
  const liveliest = data.items.slice(0, data.words).reduce((best, item, n, all) => (item.seen ?? peak(item)) > (all[best].seen ?? peak(all[best])) ? n : best, 0);
  state.over = wish.has("word") ? valid(wish.get("word"))[0] ?? 0 : data.items.length ? liveliest : null;
  if (wish.has("pin")) state.pins = valid(wish.get("pin")).slice(0, 2);
  const chosen = [...document.getElementsByName("view")].find((radio) => radio.value === wish.get("view"));
  if (chosen) { chosen.checked = true; state.view = chosen.value; }
  if (data.items.length) draw();
})();
