// Below a volume: the direction of its slices, and which one is shown.
import { button, h } from "../parts/elements.mjs";

export function sliceBar(screen) {
  const { viewer, slices } = screen;
  let range;
  let told;
  return {
    build() {
      const views = h("div", { class: "views", role: "group", "aria-label": "Direction" }, viewer.labels.views.map((view) =>
        button(view.name, () => screen.showSlices().then(() => viewer.setView(view)), { "aria-pressed": "false", data: { axis: view.axis } })),
        button("3-D", () => screen.showVolume(), { "aria-pressed": "false", id: "in-3d" }));
      range = h("input", { type: "range", id: "slice", min: 0, step: 1, "aria-label": "Slice" });
      range.addEventListener("input", () => viewer.go(viewer.view.axis, Number(range.value)));
      told = h("output", { htmlFor: "slice" });
      slices.replaceChildren(views, h("div", { class: "slice" }, range, told));
      this.tell();
    },
    tell() {
      if (!range) return;
      range.max = viewer.view.count - 1;
      range.value = viewer.slice;
      told.value = `${viewer.slice + 1} of ${viewer.view.count}`;
      const inSlices = !screen.volume;
      slices.querySelector(".slice").hidden = !inSlices;
      slices.querySelector("#in-3d").ariaPressed = String(!inSlices);
      for (const b of slices.querySelectorAll("[data-axis]")) b.ariaPressed = String(inSlices && Number(b.dataset.axis) === viewer.view.axis);
    },
  };
}
