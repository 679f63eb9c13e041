// Above the cases, for who may train: what waits to be learned from, how a training goes, what came
// of it, and the way back to an earlier version.
import * as api from "../server/api.mjs";
import { button, h } from "../parts/elements.mjs";
import { tellProblem } from "../parts/notices.mjs";

const RUNNING = ["queued", "running"];

const counted = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

// An element that shows itself when there is something to tell; `load()` asks the server again.
// `fromNothing`: there is no model yet.
export function learnStrip({ fromNothing }) {
  const element = h("section", { class: "learn", hidden: true, "aria-label": "Learning" });
  let before = "";
  const act = (what) => () => what().then(load, tellProblem);

  async function load() {
    const found = await api.learning();
    const now = JSON.stringify(found);
    if (now === before) return;
    before = now;
    const { job, waiting, versions, current, model, test_looks: looks } = found;
    const running = job && RUNNING.includes(job.state);
    const newest = versions.at(-1);
    const first = fromNothing && !versions.length;
    const parts = [];
    if (running) {
      const text = job.stage || (job.state === "queued" ? "The training waits for its turn." : "Learning");
      parts.push(h("p", {}, text), button("Cancel", act(() => api.cancelJob(job.id))),
        h("progress", { max: 1, value: job.progress || undefined, "aria-label": text }),
        h("p", { class: "note" }, "This takes a few minutes. You can go on with other cases."));
    } else {
      if (job?.state === "failed" && job.error) parts.push(h("p", { class: "problem" }, `${job.error.error} ${job.error.fix || ""}`));
      if (waiting) {
        parts.push(h("p", {}, h("strong", {}, first ? `You have marked ${counted(waiting, "case")}.` : `${counted(waiting, "judged case")} ${waiting === 1 ? "is" : "are"} new to the model.`)),
          button(waiting === 1 ? "Learn from it" : "Learn from them", act(() => api.learn()), { id: "learn" }));
      } else if (first) {
        parts.push(h("p", {}, "Mark a few cases; a model learns from them."));
      }
      if (versions.length > 1 && newest.decision.reason) {
        parts.push(h("p", { class: "note" }, `Version ${newest.number} ${newest.taken ? "was taken" : "was not taken"}. ${newest.decision.reason}`));
      }
    }
    if (versions.length > 1) parts.push(h("details", {}, h("summary", {}, "Versions of the model"), table({ versions, current, model }, running),
      looks ? h("p", { class: "note" }, `The test cases have been looked at ${looks === 1 ? "once" : `${looks} times`}. Choosing a version by them would make their scores too good.`) : null));
    element.replaceChildren(...parts);
    element.hidden = !parts.length;
  }

  function table({ versions, current, model }, running) {
    return h("ul", { class: "versions" }, versions.toReversed().map(({ number, corrections, test }) => h("li", {},
      h("span", {}, `Version ${number}`),
      h("span", { class: "note" }, `${counted(corrections, "correction")}${test === null ? "" : `, Dice ${test.toFixed(3)} on the test cases`}`),
      number === current ? h("span", { class: "chip" }, "In use")
        : button("Use it", act(() => api.useVersion(model, number)), { disabled: running, "aria-label": `Use it: version ${number}` }))));
  }

  return { element, load };
}
