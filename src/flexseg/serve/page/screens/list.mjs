// The cases: send files, see what has come of them, go to the next one.
import * as api from "../server/api.mjs";
import { atMostEvery, watch } from "../server/changes.mjs";
import { send } from "../server/uploads.mjs";
import { chosen, dropped, uploads } from "../files/collecting.mjs";
import { $, button, css, h } from "../parts/elements.mjs";
import { icon } from "../parts/icons.mjs";
import { learnStrip } from "./learn_strip.mjs";
import * as classes from "./classes.mjs";
import { setKeys } from "../parts/keys.mjs";
import { tellProblem } from "../parts/notices.mjs";
import { amount, flagChip, isBusy, isUnmarked, modelNames, reviewChip, stateText } from "../parts/wording.mjs";

const PAGE = 48;
const FILTERS = [
  { label: "All", query: {} },
  { label: "To do", query: { state: "done", review: "none" } },
  { label: "Accepted", query: { review: "accepted" } },
  { label: "Corrected", query: { review: "corrected" } },
  { label: "Rejected", query: { review: "rejected" } },
  { label: "Failed", query: { state: "failed" } },
];
let filter = FILTERS[0]; // stays when one comes back

const HELP = [
  "Add files. A model marks what it has learned to find; a mask is what it has marked.",
  "Look at the next case: one whose mask is expected to be bad. Accept it if it is right, correct it if it is not.",
  "Learn: from accepted and corrected cases the model becomes better.",
  "Check and Doubtful are given to masks that the model is less sure of.",
];
const HELP_FROM_NOTHING = [
  "Add files, then mark in the first ones what is to be found.",
  "Learn: a model is made from what you have marked. It marks the other files, and you correct it.",
];

export async function open(main, { session }) {
  const mayAdd = session.role !== "look";
  document.title = "Cases - flexseg";
  $("place").replaceChildren();
  const models = await api.models();
  // Objects can be marked without a model, but not without classes.
  if (!models.length && !(await api.classes()).length) {
    if (session.role === "train") {
      classes.open(main, () => location.reload());
    } else {
      main.append(h("section", { class: "empty" }, h("h1", { tabIndex: -1 }, "There is no model and no class yet."),
        h("p", {}, "Someone with the role train names the classes, or starts the server with a model.")));
    }
    return { leave() {} };
  }
  let model = models.find((m) => m.default)?.id ?? models[0]?.id ?? null;
  let pages = 1;
  let left = false;
  const shown = new Map(); // id -> { element, changed }

  const learn = session.role === "train" ? learnStrip({ fromNothing: !models.length }) : null;
  const cards = h("ul", { class: "cards", "aria-label": "Cases" });
  const more = button("Show more", () => { pages++; load(); }, { hidden: true, class: "more" });
  const next = h("div", { class: "next" });
  const filters = h("div", { class: "filters", role: "group", "aria-label": "Show" });
  const sending = h("ul", { class: "sending", "aria-label": "Files being sent" });
  const pick = h("input", { type: "file", multiple: true, hidden: true, id: "files", "aria-label": "Files" });
  const pickFolder = h("input", { type: "file", hidden: true, webkitdirectory: true, id: "folder", "aria-label": "Folder" });
  for (const input of [pick, pickFolder]) {
    input.addEventListener("change", () => { add(chosen(input.files)); input.value = ""; });
  }
  const drop = h("section", { class: "drop", "aria-label": "Add cases" },
    h("p", { class: "what" }, h("strong", { class: "wide-only" }, "Drop images or scans here"), h("strong", { class: "narrow-only" }, "Add images or scans"),
      h("span", { class: "note" }, "Pictures, NIfTI, DICOM as a folder or zip")),
    h("div", { class: "choices" },
      h("button", { type: "button", id: "add", onclick: () => pick.click() }, icon("plus"), "Add files"),
      button("Add a folder", () => pickFolder.click(), { class: "wide-only" })),
    models.length > 1 ? modelChoice() : null, pick, pickFolder);

  main.append(h("div", { class: "list" },
    h("h1", { tabIndex: -1 }, "Cases"), next, mayAdd ? drop : null, learn?.element, sending, filters, cards, more,
    session.role === "train" ? reports() : null));

  function reports() {
    const names = modelNames(models);
    const found = models.filter((m) => m.report).map(({ id }) =>
      h("a", { href: api.report(id), target: "_blank", rel: "noopener" }, models.length > 1 ? `Report on ${names.get(id)}` : "Report on the model"));
    return found.length ? h("nav", { class: "note reports", "aria-label": "Reports" }, found) : null;
  }

  function modelChoice() {
    const select = h("select", { id: "model" }, [...modelNames(models)].map(([id, name]) =>
      h("option", { value: id, selected: id === model }, name)));
    select.addEventListener("change", () => { model = select.value; });
    return h("div", { class: "choice" }, h("label", { for: "model" }, "Model"), select);
  }

  FILTERS.forEach((one) => filters.append(button(one.label, () => {
    filter = one;
    pages = 1;
    tellFilter();
    load();
  }, { "aria-pressed": "false" })));
  const tellFilter = () => [...filters.children].forEach((b, i) => { b.ariaPressed = String(FILTERS[i] === filter); });

  async function add(found) {
    for (const { name, blob } of await uploads(found)) {
      const bar = h("progress", { max: 1, value: 0, "aria-label": `Sending ${name}` });
      const row = h("li", {}, h("span", { class: "name" }, name), bar);
      sending.append(row);
      send(blob, name, model, ({ sent, cases, error }) => {
        if (sent !== undefined) bar.value = sent;
        if (cases) { row.remove(); load(); }
        if (error) {
          bar.remove();
          row.classList.add("problem");
          row.append(h("span", {}, `${error.message} ${error.fix || ""}`),
            button(icon("cross"), () => row.remove(), { class: "quiet", "aria-label": `Remove ${name} from this list` }));
        }
      });
    }
  }

  async function load() {
    const wanted = filter;
    let found = [];
    let after = null;
    for (let k = 0; k < pages; k++) {
      const { cases, next: beyond } = await api.cases({ ...wanted.query, limit: PAGE, after });
      found = found.concat(cases);
      after = beyond;
      if (!after) break;
    }
    const advised = await api.next();
    if (left || wanted !== filter) return;
    more.hidden = !after;
    tellNext(advised);
    const elements = found.map((one) => {
      const known = shown.get(one.id);
      const state = JSON.stringify(one);
      if (known?.state === state) return known.element;
      const element = card(one);
      // Not replaced while it has the focus: that would be lost.
      if (known?.element.contains(document.activeElement)) {
        known.element.replaceChildren(...element.childNodes);
        known.element.querySelector("a").focus();
        shown.set(one.id, { element: known.element, state });
        return known.element;
      }
      shown.set(one.id, { element, state });
      return element;
    });
    cards.replaceChildren(...elements);
    const empty = !found.length && filter === FILTERS[0];
    main.firstChild.classList.toggle("nothing", empty);
    // One button at a time is the likeliest next step.
    $("add")?.classList.toggle("primary", !advised);
    filters.hidden = empty;
    if (!found.length && !empty) cards.append(h("li", { class: "none" }, "No cases here."));
  }

  function tellNext(advised) {
    const now = next.querySelector("a")?.hash;
    const address = advised && `#/case/${advised.id}${mayAdd && isUnmarked(advised) ? "/correct" : ""}`;
    if (now === (address ?? undefined)) return;
    next.replaceChildren();
    if (!advised) return;
    next.append(h("a", { class: "primary", href: address }, mayAdd && isUnmarked(advised) ? "Mark the next case" : "Look at the next case", icon("next")));
  }

  const reload = atMostEvery(1, () => load().catch(tellProblem));
  const learnt = atMostEvery(1, () => learn?.load().catch(tellProblem));
  const unwatch = watch((told) => {
    if (told.case || !told.job) reload();
    learnt();
  });
  const over = (event) => {
    if (!mayAdd || !event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    document.body.classList.add("dropping");
  };
  const out = (event) => { if (!event.relatedTarget) document.body.classList.remove("dropping"); };
  const fall = async (event) => {
    if (!mayAdd) return;
    event.preventDefault();
    document.body.classList.remove("dropping");
    add(await dropped(event.dataTransfer));
  };
  document.addEventListener("dragover", over);
  document.addEventListener("dragleave", out);
  document.addEventListener("drop", fall);

  setKeys({
    n: ["Next case", () => next.querySelector("a")?.click()],
    u: ["Add files", () => mayAdd && pick.click()],
  }, models.length ? HELP : HELP_FROM_NOTHING);
  tellFilter();
  await load();
  await learn?.load().catch(tellProblem);

  return {
    leave() {
      left = true;
      unwatch();
      document.body.classList.remove("dropping");
      document.removeEventListener("dragover", over);
      document.removeEventListener("dragleave", out);
      document.removeEventListener("drop", fall);
    },
  };
}

function card(one) {
  const picture = ["queued", "reading"].includes(one.state) ? h("span", { class: "thumbnail" })
    : h("img", { class: "thumbnail", src: api.thumbnail(one), alt: "", loading: "lazy" });
  const largest = (one.classes || []).filter((c) => c.pixels).sort((a, b) => b.pixels - a.pixels).slice(0, 3);
  const amounts = h("span", { class: "amounts" }, largest.map((c) => {
    const dot = h("span", { class: "dot", "aria-hidden": "true" });
    dot.style.background = css(c.color);
    return h("span", {}, dot, `${c.name} ${amount(c)}`);
  }));
  const state = isBusy(one) ? [h("span", { class: "note" }, stateText(one)), h("progress", { max: 1, value: one.progress || undefined, "aria-label": stateText(one) })]
    : one.state === "failed" ? [h("span", { class: "chip red" }, "Failed"), h("span", { class: "note" }, one.error?.error || "")]
    : one.state === "canceled" ? [h("span", { class: "chip" }, "Canceled")]
    : isUnmarked(one) ? [h("span", { class: "chips" }, reviewChip(one.review) || h("span", { class: "note" }, "Nothing marked yet"))]
    : [h("span", { class: "chips" }, reviewChip(one.review) || flagChip(one.foreign ? "red" : one.flag)), amounts];
  return h("li", {}, h("a", { href: `#/case/${one.id}`, class: "card" }, picture,
    h("span", { class: "text" }, h("span", { class: "name" }, one.name), state)));
}
