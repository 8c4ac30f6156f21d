"use strict";
(() => {
  const list = document.getElementById("list");
  if (!list) return;
  const rows = [...list.children], sort = document.getElementById("sort"), content = document.getElementById("content");
  const count = document.getElementById("count");
  const place = (row) => row.dataset.place.split(".").map(Number);
  const orders = {
    "rank-place": (a, b) => place(a)[0] - place(b)[0] || place(a)[1] - place(b)[1],
  };
  const show = () => {
    const by = orders[sort.value] || ((a, b) => b.dataset[sort.value] - a.dataset[sort.value]);
    const sorted = sort.value === "difference" ? rows : [...rows].sort(by);
    const kept = sorted.filter((row) => !content.checked || row.dataset.content === "1");
    list.replaceChildren(...kept);
    count.textContent = kept.length === rows.length ? "" : `${kept.length} of ${rows.length} words`;
  };
  document.getElementById("controls").hidden = false;
  sort.addEventListener("change", show);
  content.addEventListener("change", show);
})();
