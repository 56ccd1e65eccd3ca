// Adds to a page that works without it: the slider, reasons in place of broken pictures, and arrow keys.
"use strict";

const compare = (box) => {
  const frame = box.querySelector(".frame");
  const slide = box.querySelector(".slide");
  const place = () => {
    const part = Number(slide.value);
    frame.style.setProperty("--at", `${part}%`);
    slide.setAttribute("aria-valuetext", `${Math.round(part)} % before, ${Math.round(100 - part)} % after`);
  };
  const show = (mode) => {
    box.dataset.mode = mode;
    for (const button of box.querySelectorAll("[data-mode]")) {
      button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
    }
  };
  slide.addEventListener("input", place);
  for (const button of box.querySelectorAll("button[data-mode]")) {
    button.addEventListener("click", () => show(button.dataset.mode));
  }
  place();
  show("slider");
};

// The server says why in words, so that nobody has to look into a log for it.
const explain = async (image) => {
  const note = document.createElement("span");
  note.className = "none";
  note.textContent = "This picture cannot be shown.";
  const box = image.closest("[data-compare]");
  image.replaceWith(note);
  if (box) box.dataset.mode = "beside";
  try {
    const answer = await fetch(image.currentSrc || image.src, { credentials: "same-origin" });
    const kind = answer.headers.get("content-type") || "";
    if (!answer.ok && kind.startsWith("text/plain")) note.textContent = (await answer.text()).slice(0, 400);
  } catch {
    // The sentence that is there already is all that is known.
  }
};

const watch = (image) => {
  const done = () => image.classList.add("ready");
  if (image.complete && image.naturalWidth) done();
  else if (image.complete && image.currentSrc) explain(image);
  else {
    image.addEventListener("load", done, { once: true });
    image.addEventListener("error", () => explain(image), { once: true });
  }
};

document.querySelectorAll("[data-compare]").forEach(compare);
document.querySelectorAll("img").forEach(watch);
for (const part of document.querySelectorAll("[data-grow]")) part.style.flexGrow = part.dataset.grow;

document.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey || event.target.closest("input, button")) return;
  const rel = { ArrowLeft: "prev", ArrowRight: "next" }[event.key];
  const link = rel && document.querySelector(`a[rel=${rel}]`);
  if (link) link.click();
});
