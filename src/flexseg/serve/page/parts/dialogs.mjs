import { button, h } from "./elements.mjs";

// Shows a dialog until it is closed; resolves to the value of the button that closed it, "" for Escape.
export function ask(title, content, buttons) {
  return new Promise((resolve) => {
    const dialog = h("dialog", { "aria-labelledby": "dialog-title" },
      h("h2", { id: "dialog-title" }, title), content,
      h("div", { class: "choices" }, buttons.map(({ label, value, kind = "" }) =>
        button(label, () => dialog.close(value), { class: kind }))));
    dialog.addEventListener("close", () => { dialog.remove(); resolve(dialog.returnValue); });
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    document.body.append(dialog);
    dialog.showModal();
  });
}

export const confirmed = async (title, text, label, stay = "Cancel") =>
  (await ask(title, h("p", {}, text), [{ label: stay, value: "" }, { label, value: "yes", kind: "danger" }])) === "yes";
