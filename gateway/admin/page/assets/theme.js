// Dark or light as the system says, until somebody chooses. Runs before anything is drawn.
"use strict";
{
  const names = ["auto", "light", "dark"];
  const root = document.documentElement;
  const read = () => {
    try { return localStorage.getItem("theme"); } catch { return null; } // storage may be forbidden
  };
  const use = (name) => {
    if (name === "auto") delete root.dataset.theme;
    else root.dataset.theme = name;
    try { localStorage.setItem("theme", name); } catch { /* then it is for this page only */ }
  };
  const chosen = () => root.dataset.theme ?? "auto";

  if (names.includes(read())) use(read());
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const say = () => { button.textContent = `Theme: ${chosen()}`; };
    button.hidden = false;
    button.addEventListener("click", () => {
      use(names[(names.indexOf(chosen()) + 1) % names.length]);
      say();
      document.dispatchEvent(new Event("theme"));
    });
    say();
  });
}
