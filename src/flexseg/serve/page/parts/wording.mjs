// How states, verdicts and amounts are called.
import { h } from "./elements.mjs";

const FLAGS = { green: "Likely good", yellow: "Check", red: "Doubtful" };
const REVIEWS = { accepted: "Accepted", corrected: "Corrected", rejected: "Rejected" };
const STATES = { queued: "Waiting", reading: "Reading", predicting: "Predicting", failed: "Failed", canceled: "Canceled" };

// Neither a model nor a person has made a mask of it.
export const isUnmarked = ({ state, version, has_correction: corrected }) => state === "done" && version === null && !corrected;
export const isBusy = ({ state }) => ["queued", "reading", "predicting"].includes(state);
export const stateText = ({ state, progress }) =>
  (state === "predicting" && progress > 0 ? `Predicting, ${Math.round(100 * progress)} %` : STATES[state] || "");

const chip = (kind, text) => h("span", { class: `chip ${kind}` }, text);
export const flagChip = (flag) => (flag ? chip(flag, FLAGS[flag] || flag) : null);
export const reviewChip = (review) => (review ? chip(review, REVIEWS[review]) : null);

const three = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
export const number = (value) => (Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en").replaceAll(",", "\u202f") : three.format(value));
export const amount = ({ pixels, area, unit }) => {
  if (!pixels) return "none";
  return area === null || area === undefined ? `${number(pixels)} px` : `${number(area)} ${unit}`;
};

// Names of models by id, with the id where two have the same name.
export function modelNames(models) {
  const names = models.map(({ name }) => name);
  return new Map(models.map(({ id, name }) =>
    [id, names.indexOf(name) === names.lastIndexOf(name) ? name : `${name} (${id})`]));
}
