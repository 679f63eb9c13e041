// An element with properties and children. Names that begin with "on" are listeners, those with a
// dash and `role` attributes, the rest properties; children are nodes or text, nothing is left out.
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name.includes("-") || name === "role" || name === "for") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const $ = (id) => document.getElementById(id);

export const css = ([r, g, b]) => `rgb(${r}, ${g}, ${b})`;

export function swatch(color) {
  const element = h("span", { class: "swatch", "aria-hidden": "true" });
  if (color) element.style.background = css(color);
  else element.classList.add("hatched");
  return element;
}

// A labelled slider; `tell` gives the text of its value.
export function slider(label, { id, min, max, step = 1, value, tell = String, change }) {
  const output = h("output", { htmlFor: id }, tell(value));
  const input = h("input", { id, type: "range", min, max, step });
  input.value = value;
  const update = () => { output.value = tell(Number(input.value)); };
  input.addEventListener("input", () => { update(); change(Number(input.value)); });
  const element = h("div", { class: "slider" }, h("label", { for: id }, label), output, input);
  element.set = (v) => { input.value = v; update(); };
  element.step = (by) => {
    input.value = Number(input.value) + by;
    input.dispatchEvent(new Event("input"));
  };
  return element;
}

export function checkbox(label, { checked = false, change, ...more }) {
  const input = h("input", { type: "checkbox", checked, ...more });
  input.addEventListener("change", () => change(input.checked));
  const element = h("label", { class: "check" }, input, h("span", {}, label));
  element.toggle = () => input.click();
  return element;
}

export const button = (label, onclick, properties = {}) => h("button", { type: "button", onclick, ...properties }, label);
