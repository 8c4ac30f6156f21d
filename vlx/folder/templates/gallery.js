"use strict";
(() => {
  const PAGE = 0, PATH = 1, ASKED = 2, SAID = 3, WORDS = 4, WORD = 0, P = 1, SEEN = 2, CHECK = 3, FLAGS = 4;
  const CHECKS = ["not confirmed", "cannot be tested", "weak", "confirmed"], CHUNK = 250, STEP = 40;
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const controls = at("controls"), list = at("list"), more = at("more"), chunks = [];
  let shown = [], drawn = 0, hay = null;

  const thumb = (row) => {
    const chunk = Math.floor(row / CHUNK);
    if (!chunks[chunk]) {
      const element = document.getElementsByClassName("thumbs")[chunk];
      if (!element || (document.readyState === "loading" && !element.nextElementSibling)) return null;
      chunks[chunk] = JSON.parse(element.textContent);
    }
    return chunks[chunk][row % CHUNK];
  };
  const picture = (image) => {
    const found = thumb(+image.dataset.row);
    if (found) { image.src = "data:image/jpeg;base64," + found; delete image.dataset.row; }
    else if (found === "") image.remove();
  };
  const made = (kind, name, text) => {
    const element = document.createElement(kind);
    if (name) element.className = name;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const figure = (value) => Math.abs(value) >= 100 ? value.toFixed(0) : (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2);
  const percent = (p) => p >= .9995 ? "> 99.9 %" : p < .001 ? "< .1 %" : (100 * p).toFixed(1) + " %";
  const marked = (word) => ((word[FLAGS] & 2 ? "unowed " : "") + (word[CHECK] === 0 ? "unchecked" : "")).trim();

  const line = (row, only) => {
    const [page, path, asked, said, words] = data[row], item = made("li"), holder = made("span", "thumb");
    const image = made("img"); image.alt = ""; image.dataset.row = row; holder.append(image); picture(image);
    const text = made("p", "said"), target = page ? made("a") : made("span", "error");
    if (page) target.href = page;
    if (asked) text.append(made("span", "asked", asked), " ");
    const whole = words.map((word) => word[WORD]).join(" ");
    if (words.length && (only >= 0 || whole.length === said.length)) {
      words.forEach((word, n) => {
        if (n) target.append(" ");
        target.append(made(n === only ? "b" : "span", only >= 0 && n !== only ? "" : marked(word), word[WORD]));
      });
    } else target.textContent = said || "(nothing)";
    text.append(target);
    let told = path;
    if (only >= 0) {
      const word = words[only], parts = [];
      if (word[P] !== null) parts.push("p " + percent(word[P]));
      if (word[SEEN] !== null) parts.push("seen " + figure(word[SEEN]));
      if (word[CHECK] >= 0) parts.push(CHECKS[word[CHECK]]);
      told = parts.join(" · ") + " · " + path;
    }
    item.append(holder, text, made("p", "from", told));
    return item;
  };

  const draw = () => {
    const stop = Math.min(drawn + STEP, shown.length), some = document.createDocumentFragment();
    for (; drawn < stop; drawn += 1) some.append(line(shown[drawn][0], shown[drawn][1]));
    list.append(some);
  };
  const key = (word, by) => by === "seen" ? word[SEEN] : by === "p" ? word[P] : word[CHECK] < 0 ? null : word[CHECK];
  const update = () => {
    const asked = at("find").value.toLowerCase().split(/\s+/).filter(Boolean), by = at("sort").value;
    const words = controls.elements.view.value === "words", all = at("function").checked || at("function").closest("label").hidden;
    const unowed = at("unowed").checked, unchecked = at("unchecked").checked, failed = at("failed").checked;
    if (!hay) hay = data.map((row) => row[WORDS].map((word) => word[WORD].toLowerCase()));
    const fits = (word) => (all || word[FLAGS] & 1) && (!unowed || word[FLAGS] & 2) && (!unchecked || word[CHECK] === 0);
    shown = [];
    for (let row = 0; row < data.length; row += 1) {
      const own = data[row][WORDS];
      if (failed && data[row][PAGE]) continue;
      if (words) {
        for (let n = 0; n < own.length; n += 1) {
          if (asked.length && !asked.some((part) => hay[row][n].startsWith(part))) continue;
          if (fits(own[n])) shown.push([row, n, by === "place" ? row : key(own[n], by)]);
        }
        continue;
      }
      if (asked.length) {
        const said = (data[row][SAID] || "").toLowerCase() + " " + data[row][PATH].toLowerCase() + " " + data[row][ASKED].toLowerCase();
        if (!asked.every((part) => hay[row].some((word) => word.startsWith(part)) || said.includes(part))) continue;
      }
      let least = null, any = false;
      for (const word of own) if (fits(word)) {
        any = true;
        const value = key(word, by);
        if (value !== null && (least === null || value < least)) least = value;
      }
      if ((unowed || unchecked) && !any) continue;
      shown.push([row, -1, by === "place" ? row : least]);
    }
    const way = at("turned").checked ? -1 : 1;
    shown.sort((a, b) => a[2] === b[2] ? a[0] - b[0] || a[1] - b[1] : a[2] === null ? 1 : b[2] === null ? -1 : way * (a[2] - b[2]));
    const pictures = words ? new Set(shown.map((one) => one[0])).size : shown.length;
    at("found").textContent = words ? `${shown.length} words of ${pictures} results` : `${pictures} of ${data.length} results`;
    list.replaceChildren(); drawn = 0; draw();
  };

  controls.hidden = false;
  controls.addEventListener("input", update);
  controls.addEventListener("submit", (event) => event.preventDefault());
  new IntersectionObserver((seen) => { if (seen.some((one) => one.isIntersecting) && drawn < shown.length) draw(); }, { rootMargin: "1200px" }).observe(more);
  addEventListener("scroll", () => { if (drawn < shown.length && more.getBoundingClientRect().top < innerHeight + 1200) draw(); }, { passive: true });
  document.addEventListener("DOMContentLoaded", () => list.querySelectorAll("img[data-row]").forEach(picture));
  update();
})();
