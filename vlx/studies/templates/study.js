"use strict";
(() => {
  const study = JSON.parse(document.getElementById("study").textContent);
  const STORE = `vlx-study-${study.digest}`;
  const STEP = 0.02, LEAP = 0.1;
  const SCALE = [
    [2, "Left, much more"], [1, "Left, somewhat more"], [0, "Both the same"],
    [-1, "Right, somewhat more"], [-2, "Right, much more"],
  ];
  const at = (id) => document.getElementById(id);
  const questions = new Map();
  for (const part of study.parts) for (const question of part.questions) questions.set(question.id, { ...question, part });
  for (const check of study.checks) questions.set(check.id, { ...check, check: true, shown: Array(study.groups).fill([]) });
  let state = null, began = 0, point = null;

  /** Numbers from 0 to 1 that a seed gives again: a participant's order survives a reload. */
  function numbers(seed) {
    let held = seed >>> 0;
    return () => {
      held = (held + 0x6d2b79f5) >>> 0;
      let mixed = Math.imul(held ^ (held >>> 15), held | 1);
      mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
    };
  }

  function shuffled(items, next) {
    const order = [...items];
    for (let n = order.length - 1; n > 0; n--) {
      const other = Math.floor(next() * (n + 1));
      [order[n], order[other]] = [order[other], order[n]];
    }
    return order;
  }

  /** A participant without a name: a random number, the group that it falls into (or page.html#3), the order of all. */
  function participant() {
    const [first, second] = crypto.getRandomValues(new Uint32Array(2));
    const name = [first, second].map((one) => one.toString(16).padStart(8, "0")).join("");
    const told = /^#(\d{1,9})$/.exec(location.hash);
    const next = numbers(first);
    const order = study.parts.flatMap((part) => shuffled(part.questions.map((question) => question.id), next));
    const apart = order.length / (study.checks.length + 1);
    study.checks.forEach((check, n) => order.splice(Math.round((n + 1) * apart) + n, 0, check.id));
    return {
      participant: name,
      group: (told ? Number(told[1]) : second) % study.groups,
      order: order.map((id) => [id, next() < 0.5]),
      answers: [],
    };
  }

  /** What this browser kept of this participant, if the study can go on with it: else it begins anew. */
  function stored() {
    try {
      const held = JSON.parse(localStorage.getItem(STORE));
      const asked = held.order.map(([id]) => id);
      const whole = new Set(asked).size === questions.size && asked.every((id) => questions.has(id));
      const begun = held.answers.length <= asked.length && held.answers.every((one, n) => one.question === asked[n]);
      const group = [...Array(study.groups).keys()].includes(held.group);
      return whole && begun && group && /^[0-9a-f]{16}$/.test(held.participant) ? held : null;
    } catch { return null; }
  }

  /** Whether this browser keeps what it is given; where a page from a file may not, nothing survives a reload. */
  function keep() {
    try {
      localStorage.setItem(STORE, JSON.stringify(state));
      return true;
    } catch { return false; }
  }

  function keeps() {
    try {
      localStorage.setItem(`${STORE}-trial`, "1");
      localStorage.removeItem(`${STORE}-trial`);
      return true;
    } catch { return false; }
  }

  function forget() {
    try { localStorage.removeItem(STORE); } catch { /* nothing was kept */ }
    state = null;
    show("gone", "gone-title");
  }

  function show(section, focused) {
    for (const one of document.querySelectorAll("main > section")) one.hidden = one.id !== section;
    window.scrollTo(0, 0);
    if (focused) at(focused).focus({ preventScroll: true });
  }

  function made(name, given = {}, ...inside) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(given)) element.setAttribute(key, value);
    element.append(...inside);
    return element;
  }

  function picture(id, alt, caption, kind = "") {
    const image = made("img", { src: study.images[id], alt });
    return made("figure", kind ? { class: kind } : {}, ...(caption ? [made("figcaption", {}, caption), image] : [image]));
  }

  function choices(legend, options) {
    const labels = options.map(([value, text]) =>
      made("label", {}, made("input", { type: "radio", name: "answer", value: String(value) }), made("span", { dir: "auto" }, text)));
    return made("fieldset", {}, made("legend", {}, legend), made("div", { class: "choices" }, ...labels));
  }

  function sliders(place) {
    const axes = [["From the left edge", 0], ["From the top edge", 1]];
    return made("div", { class: "sliders" }, ...axes.map(([text, axis]) => {
      const input = made("input", { type: "range", min: "0", max: "100", step: "1", value: "50", id: `axis-${axis}` });
      input.addEventListener("input", () => {
        const moved = point ? [...point] : [0.5, 0.5];
        moved[axis] = Number(input.value) / 100;
        place(moved);
      });
      return made("label", {}, `${text} (%)`, input);
    }));
  }

  /** The picture with a point on it: by mouse, by touch, by the arrow keys, or by the sliders under it. */
  function pointing(id) {
    const mark = made("div", { class: "mark" });
    mark.hidden = true;
    const image = made("img", { src: study.images[id], alt: "The picture to look at" });
    const field = made("div", {
      class: "field", tabindex: "0", role: "application",
      "aria-label": "Point on the picture. Arrow keys move it, with Shift in larger steps.",
    }, image, mark);
    const place = (moved) => {
      point = moved.map((one) => Math.min(Math.max(one, 0), 1));
      mark.hidden = false;
      [mark.style.left, mark.style.top] = point.map((one) => `${100 * one}%`);
      point.forEach((one, axis) => { at(`axis-${axis}`).value = String(Math.round(100 * one)); });
      at("told").textContent = "";
    };
    field.addEventListener("click", (event) => {
      const box = image.getBoundingClientRect();
      place([(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height]);
    });
    field.addEventListener("keydown", (event) => {
      const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!way && event.key !== " ") return;
      event.preventDefault();
      const step = event.shiftKey ? LEAP : STEP;
      const from = point ?? [0.5, 0.5];
      place(way ? from.map((one, axis) => one + step * way[axis]) : from);
    });
    return [field, sliders(place)];
  }

  function ask() {
    const count = state.order.length, number = state.answers.length;
    if (number >= count) return finish();
    const [id, flipped] = state.order[number];
    const question = questions.get(id), shown = question.shown[state.group];
    const part = question.part?.name ?? "check";
    point = null;
    at("progress").textContent = `Question ${number + 1} of ${count}${question.part ? ` · ${question.part.title}` : ""}`;
    Object.assign(at("bar"), { max: count, value: number });
    at("prompt").textContent = question.prompt;
    at("introduction").textContent = question.part?.introduction ?? "";
    at("told").textContent = "";
    const stage = at("stage"), listed = at("choices");
    stage.className = part === "reasonable" ? "" : "one";
    if (part === "which") stage.replaceChildren(picture(shown[0], "What mattered to the computer, on the picture"));
    else if (part === "reasonable") stage.replaceChildren(
      picture(question.picture, "The picture", "The picture", "whole"),
      picture(shown[0], "What mattered to the computer on the left", "Left"),
      picture(shown[1], "What mattered to the computer on the right", "Right"));
    else stage.replaceChildren();
    if (part === "where") {
      const [field, moving] = pointing(question.picture);
      stage.replaceChildren(made("figure", {}, field));
      listed.replaceChildren(moving);
    } else if (part === "reasonable") listed.replaceChildren(choices("More reasonable is", SCALE));
    else {
      const options = question.options.map((text, n) => [n, text]);
      listed.replaceChildren(choices("Your answer", flipped ? options.reverse() : options));
    }
    show("asking", "prompt");
    began = performance.now();
  }

  function answered(event) {
    event.preventDefault();
    const [id] = state.order[state.answers.length];
    const question = questions.get(id);
    const chosen = at("form").querySelector("input[name=answer]:checked");
    const answer = question.part?.name === "where" ? point?.map((one) => Number(one.toFixed(4))) : chosen && Number(chosen.value);
    if (answer === null || answer === undefined) {
      at("told").textContent = question.part?.name === "where" ? "Put the point somewhere first." : "Choose an answer first.";
      return;
    }
    const seconds = Number(((performance.now() - began) / 1000).toFixed(1));
    state.answers.push({ question: id, shown: question.shown[state.group], answer, seconds });
    keep();
    ask();
  }

  function told() {
    const { participant, group, answers } = state;
    return JSON.stringify({
      format: "vlx study answers", schema_version: 1, study: study.digest, participant, group, answers,
    }, null, 1);
  }

  const named = () => `answers-${state.participant}.json`;

  function finish() {
    at("text").value = told();
    at("file").textContent = `(${named()})`;
    at("saved").textContent = "";
    show("done", "done-title");
  }

  function download() {
    const address = URL.createObjectURL(new Blob([told()], { type: "application/json" }));
    made("a", { href: address, download: named() }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60000);
    at("saved").textContent = `Saved as ${named()}, where your browser keeps downloads.`;
  }

  function begin(event) {
    event.preventDefault();
    if (!at("agreed").checked) {
      at("consent-told").textContent = "Tick the box first, if you agree.";
      at("agreed").focus();
      return;
    }
    state = participant();
    keep();
    ask();
  }

  at("agree").noValidate = true;
  at("agree").addEventListener("submit", begin);
  at("form").addEventListener("submit", answered);
  at("choices").addEventListener("change", () => { at("told").textContent = ""; });
  at("download").addEventListener("click", download);
  at("stop").addEventListener("click", forget);
  at("delete").addEventListener("click", forget);
  const total = questions.size;
  at("count").textContent = String(total - study.checks.length);
  at("minutes").textContent = String(Math.max(1, Math.round(total * 8 / 60)));
  at("own").replaceChildren(...study.consent.map((text) => made("p", { dir: "auto" }, text)));
  if (!keeps()) at("kept").textContent = ". It keeps nothing between two visits: finish in one sitting, without a reload";
  state = stored();
  if (state) ask();
  else show("consent", "");
})();
