import { $ } from "./elements.mjs";

const KEY = "flexseg-theme";

// The button that switches between light and dark; the system's choice holds until it is pressed.
export function themeSwitch() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  const isDark = () => (root.dataset.theme || (dark.matches ? "dark" : "light")) === "dark";
  const tell = () => { $("theme").ariaPressed = String(isDark()); };
  const chosen = localStorage.getItem(KEY);
  if (chosen) root.dataset.theme = chosen;
  $("theme").addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    localStorage.setItem(KEY, root.dataset.theme);
    tell();
  });
  dark.addEventListener("change", tell);
  tell();
}
