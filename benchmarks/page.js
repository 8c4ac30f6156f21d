// What is on the first screen: where the picture and the sentence are, and every word that can be read.
function firstScreen() {
  const box = (selector) => { const r = document.querySelector(selector)?.getBoundingClientRect(); return r ? [r.top, r.bottom].map(Math.round) : null; };
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), words = [];
  const shown = (node) => { const of = node.parentElement; return of.checkVisibility({ visibilityProperty: true }) && !of.closest(".visually-hidden, script, style"); };
  while (walk.nextNode()) {
    if (!shown(walk.currentNode)) continue;
    for (const found of walk.currentNode.data.matchAll(/\S+/g)) {
      const range = document.createRange();
      range.setStart(walk.currentNode, found.index);
      range.setEnd(walk.currentNode, found.index + found[0].length);
      const place = range.getBoundingClientRect();
      if (place.width && place.top < innerHeight && /[\p{L}\p{N}]/u.test(found[0])) words.push(found[0]);
    }
  }
  return { picture: box(".picture"), sentence: box(".card p.answer"), words, wide: document.documentElement.scrollWidth > innerWidth };
}

// The three least contrasts of any text with what is behind it (WCAG 2), everything unfolded.
function leastContrast() {
  document.querySelectorAll("details").forEach((one) => { one.open = true; });
  document.querySelectorAll("[data-item]").forEach((one) => { if (one.matches("button")) one.disabled = false; });
  const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (text) => { pen.clearRect(0, 0, 1, 1); pen.fillStyle = text; pen.fillRect(0, 0, 1, 1); const d = pen.getImageData(0, 0, 1, 1).data; return [d[0], d[1], d[2], d[3] / 255]; };
  const over = (top, under) => [0, 1, 2].map((k) => top[k] * top[3] + under[k] * (1 - top[3]));
  const light = (c) => { const [r, g, b] = c.map((v) => { v /= 255; return v > 0.04045 ? ((v + 0.055) / 1.055) ** 2.4 : v / 12.92; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ground = (one) => { const path = []; for (let at = one; at; at = at.parentElement) path.push(rgba(getComputedStyle(at).backgroundColor)); return path.reverse().reduce((under, top) => over(top, under), [255, 255, 255]); };
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
  while (walk.nextNode()) {
    const one = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !one.checkVisibility({ visibilityProperty: true }) || one.closest(".visually-hidden, script, style, svg")) continue;
    const behind = ground(one), ink = rgba(getComputedStyle(one).color);
    let clear = 1; for (let at = one; at; at = at.parentElement) clear *= Number(getComputedStyle(at).opacity);
    const [a, b] = [light(over([...ink.slice(0, 3), ink[3] * clear], behind)), light(behind)].sort((x, y) => y - x);
    found.push([Math.round((a + 0.05) / (b + 0.05) * 100) / 100, (one.className || one.tagName) + ": " + walk.currentNode.data.trim().slice(0, 30)]);
  }
  return found.sort((x, y) => x[0] - y[0]).slice(0, 3);
}

// Landmarks that share role and name.
function sameLandmarks() {
  const outer = (one) => !one.parentElement.closest("article, aside, main, nav, section");
  const kinds = { MAIN: "main", NAV: "navigation", ASIDE: "complementary", SECTION: "region", FORM: "form", HEADER: "banner", FOOTER: "contentinfo" };
  const found = [...document.querySelectorAll("main, nav, aside, section, form, header, footer, [role=region], [role=search]")].filter((one) => one.checkVisibility()).flatMap((one) => {
    const name = one.getAttribute("aria-label") || "", kind = one.getAttribute("role") || kinds[one.tagName];
    if (["HEADER", "FOOTER"].includes(one.tagName) && !outer(one)) return [];
    return ["region", "form"].includes(kind) && !name ? [] : [kind + " " + name];
  });
  return found.filter((name, n) => found.indexOf(name) !== n);
}
