"use strict";
const frames = [...document.querySelectorAll("#frames > li")], slider = document.querySelector("#time");
const told = document.querySelector("#told"), bare = document.querySelector("#bare");
const bars = [...document.querySelectorAll("#bars > span")];
function show() {
  const now = Number(slider.value) - 1;
  frames.forEach((frame, n) => {
    frame.hidden = n !== now;
    frame.querySelector(".heat").hidden = bare.checked;
    frame.querySelector(".plain").hidden = !bare.checked;
    bars[n].classList.toggle("now", n === now);
  });
  told.textContent = frames[now].dataset.told;
  slider.setAttribute("aria-valuetext", told.textContent);
}
document.querySelector("#controls").hidden = false;
document.body.classList.add("one");
slider.addEventListener("input", show);
bare.addEventListener("change", show);
show();
