import * as api from "../server/api.mjs";
import { h } from "../parts/elements.mjs";

// Asks for the token of a server that is not for this machine alone.
export function open(main, done) {
  const input = h("input", { id: "token", type: "password", autocomplete: "current-password", required: true });
  const problem = h("p", { class: "problem", role: "alert" });
  const form = h("form", { class: "login" },
    h("h1", {}, "Sign in"),
    h("label", { for: "token" }, "Token"), input,
    h("p", { class: "note" }, "Whoever runs this server has given you one."),
    problem, h("button", { type: "submit", class: "primary" }, "Sign in"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    problem.textContent = "";
    try {
      await api.login(input.value.trim());
      done();
    } catch (error) {
      problem.textContent = `${error.message} ${error.fix}`;
      input.select();
    }
  });
  main.replaceChildren(form);
  input.focus();
}
