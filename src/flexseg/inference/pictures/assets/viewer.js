"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const settings = JSON.parse($("settings").textContent);
  const status = $("status");
  const names = new Map(settings.classes.map((c) => [c.id, c.name]));
  const VIEWS = ["multiplanar", "axial", "coronal", "sagittal", "render"];
  const STEP = 4 * 65536;
  let nv, image, labels;

  function bytes(id) {
    const element = $(id);
    const text = element.textContent;
    const parts = [];
    for (let i = 0; i < text.length; i += STEP) {
      const piece = atob(text.slice(i, i + STEP));
      parts.push(Uint8Array.from(piece, (c) => c.charCodeAt(0)));
    }
    element.remove(); // its memory is needed elsewhere
    return new Blob(parts);
  }

  function inflated(id) {
    return new Response(bytes(id).stream().pipeThrough(new DecompressionStream("gzip")));
  }

  function report(error) {
    status.textContent = "The volume cannot be shown: " + (error.message || error) +
      ". A current browser with WebGL 2 is needed.";
    console.error(error);
  }

  // Four digits, but whole numbers from 1000 on.
  const short = (v) => (Math.abs(v) >= 1000 ? Math.round(v).toString() : String(Number(v.toPrecision(4))));

  function show(view) {
    const types = niivue.SLICE_TYPE;
    nv.setSliceType(types[view.toUpperCase()]);
    for (const button of document.querySelectorAll("[data-view]")) {
      button.ariaPressed = String(button.dataset.view === view);
    }
    nv.view = view;
  }

  function paint() {
    const shown = new Set([...document.querySelectorAll("[data-class]:checked")].map((b) => Number(b.dataset.class)));
    const table = { R: [0], G: [0], B: [0], A: [0], I: [0], labels: [""] };
    for (const c of settings.classes) {
      ["R", "G", "B"].forEach((channel, i) => table[channel].push(c.color[i]));
      table.A.push(shown.has(c.id) ? 255 : 0);
      table.I.push(c.id);
      table.labels.push(c.name);
    }
    labels.setColormapLabel(table);
    nv.updateGLVolume();
  }

  function fade() {
    const value = Number($("opacity").value);
    $("opacity-value").value = value + " %";
    nv.setAtlasOutline($("outline").checked ? 1 : 0);
    nv.setOpacity(1, value / 100);
  }

  function smooth() {
    nv.opts.isNearestInterpolation = !$("smooth").checked;
    nv.updateInterpolation(0); // labels keep their edges
    nv.opts.isNearestInterpolation = true;
    nv.drawScene();
  }

  function tellWindow() {
    const width = image.cal_max - image.cal_min;
    $("width").value = width;
    $("level").value = image.cal_min + width / 2;
    $("width-value").value = short(width);
    $("level-value").value = short(image.cal_min + width / 2);
  }

  function applyWindow() {
    const [level, width] = [Number($("level").value), Number($("width").value)];
    image.cal_min = level - width / 2;
    image.cal_max = level + width / 2;
    nv.updateGLVolume();
    tellWindow();
  }

  function resetWindow() {
    [image.cal_min, image.cal_max] = settings.window;
    nv.updateGLVolume();
    tellWindow();
  }

  function reset() {
    resetWindow();
    nv.setPan2Dxyzmm([0, 0, 0, 1]);
    nv.scene.crosshairPos = nv.mm2frac(settings.start, 0, true);
    nv.drawScene();
    nv.createOnLocationChange();
  }

  function tellPlace({ mm, values: [{ value }, { value: label }] }) {
    const sides = [["L", "R"], ["P", "A"], ["I", "S"]];
    const place = sides.map(([low, high], i) =>
      settings.placed ? `${Math.abs(mm[i]).toFixed(1)} ${mm[i] < 0 ? low : high}` : mm[i].toFixed(1));
    const name = label ? names.get(label) || `class ${label}` : "no class";
    $("place").textContent = `Value ${short(value)}\n${name}\n${place.join(", ")} mm`;
  }

  const slide = (id, by) => {
    const input = $(id);
    input.value = Number(input.value) + by * (Number(input.max) - Number(input.min));
    input.dispatchEvent(new Event("input"));
  };
  const toggle = (id) => {
    $(id).checked = !$(id).checked;
    $(id).dispatchEvent(new Event("change"));
  };

  function step(by) {
    const axis = { axial: 2, coronal: 1, sagittal: 0 }[nv.view] ?? 2;
    nv.moveCrosshairInVox(...[0, 1, 2].map((i) => (i === axis ? by : 0)));
  }

  let before = 40;
  const KEYS = {
    ArrowUp: () => step(1), ArrowDown: () => step(-1),
    "+": () => slide("opacity", 0.1), "=": () => slide("opacity", 0.1), "-": () => slide("opacity", -0.1),
    "[": () => slide("level", -0.01), "]": () => slide("level", 0.01),
    ",": () => slide("width", -0.01), ".": () => slide("width", 0.01),
    o: () => toggle("outline"), r: reset,
    l: () => {
      const input = $("opacity");
      if (Number(input.value)) before = input.value;
      input.value = Number(input.value) ? 0 : before;
      fade();
    },
  };
  VIEWS.forEach((view, i) => (KEYS[i + 1] = () => show(view)));

  function listen() {
    document.querySelectorAll("[data-view]").forEach((b) => b.addEventListener("click", () => show(b.dataset.view)));
    document.querySelectorAll("[data-class]").forEach((b) => b.addEventListener("change", paint));
    $("opacity").addEventListener("input", fade);
    $("outline").addEventListener("change", fade);
    $("smooth").addEventListener("change", smooth);
    for (const id of ["level", "width"]) $(id).addEventListener("input", applyWindow);
    $("reset").addEventListener("click", reset);
    // Before NiiVue, which has keys of its own.
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const slider = event.target.type === "range" && event.key.startsWith("Arrow");
      const action = slider ? undefined : KEYS[event.key] || KEYS[event.key.toLowerCase()];
      if (event.target === nv.canvas && !["Tab", "Shift"].includes(event.key)) event.stopPropagation();
      if (!action) return;
      event.preventDefault();
      action();
    }, true);
    document.addEventListener("keyup", (event) => event.target === nv.canvas && event.stopPropagation(), true);
  }

  function theme() {
    const button = $("theme");
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const tell = () => (button.ariaPressed = String((document.documentElement.dataset.theme || (dark.matches ? "dark" : "light")) === "dark"));
    button.addEventListener("click", () => {
      document.documentElement.dataset.theme = button.ariaPressed === "true" ? "light" : "dark";
      tell();
    });
    dark.addEventListener("change", tell);
    tell();
  }

  async function main() {
    theme();
    const code = document.createElement("script");
    code.textContent = await inflated("niivue").text();
    document.head.append(code);
    nv = new niivue.Niivue({
      backColor: [0, 0, 0, 1], fontColor: [0.5, 1, 0.25, 1], crosshairColor: [0.5, 1, 0.25, 0.6],
      isRadiologicalConvention: true, sagittalNoseLeft: true,
      isNearestInterpolation: true, isColorbar: false, isOrientCube: false, show3Dcrosshair: true,
      multiplanarShowRender: niivue.SHOW_RENDER.AUTO, multiplanarPadPixels: 8, tileMargin: 4,
      dragAndDropEnabled: false, loadingText: "", logLevel: "error", textHeight: settings.placed ? 0.05 : 0,
    });
    await nv.attachToCanvas($("canvas"));
    const open = async (id, name, more) =>
      niivue.NVImage.new(await inflated(id).arrayBuffer(), name, ...more);
    image = await open("image", "image.nii", ["gray", 1, null, ...settings.window]);
    labels = await open("labels", "labels.nii", ["gray", 0.4]);
    nv.addVolume(image);
    nv.addVolume(labels);
    const [low, high] = [image.global_min, image.global_max];
    const range = Math.max(high - low, settings.window[1] - settings.window[0]);
    Object.assign($("level"), { min: Math.min(low, settings.window[0]), max: Math.max(high, settings.window[1]) });
    Object.assign($("width"), { min: range / 1000, max: range });
    nv.onLocationChange = tellPlace;
    nv.onIntensityChange = tellWindow;
    nv.setCrosshairWidth(Math.max(...image.dimsRAS.slice(1, 4)) / 300); // voxels
    listen();
    paint();
    fade();
    smooth();
    show("multiplanar");
    reset();
    status.textContent = "";
    window.viewer = nv; // for tests and the curious
    document.documentElement.dataset.ready = "yes";
  }
  main().catch(report);
})();
