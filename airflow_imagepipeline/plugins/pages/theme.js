// Light or dark as Airflow itself is now: its page and this one share an origin. Else as the system wishes.
"use strict";
(() => {
  const root = document.documentElement;
  // Airflow's own ground, so that no edge is seen; only where it is dark enough for what is written on it.
  const veryDark = (colour) => {
    const pen = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d");
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = pen.getImageData(0, 0, 1, 1).data;
    return alpha === 255 && Math.max(red, green, blue) < 52 && `rgb(${red} ${green} ${blue})`;
  };
  const follow = (outside) => {
    const chosen = ["dark", "light"].find((name) => outside.classList.contains(name));
    if (chosen) root.dataset.theme = chosen;
    else delete root.dataset.theme;
    const ground = chosen === "dark" && veryDark(getComputedStyle(outside).backgroundColor);
    if (ground) root.style.setProperty("--ground", ground);
    else root.style.removeProperty("--ground");
  };
  try {
    if (window.parent === window) return;
    const outside = window.parent.document.documentElement;
    follow(outside);
    new MutationObserver(() => follow(outside)).observe(outside, { attributes: true, attributeFilter: ["class"] });
  } catch {
    // Another origin: the style sheet asks the system.
  }
})();
